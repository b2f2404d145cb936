// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "../layout.h"
#include "attn_weights_avx2.h"

// Two heads share the values.
enum { TILE_HEADS = 2 };

struct values {
    const uint8_t *quants;  // of the first of 32 channels
    const uint16_t *scales; // of the first position
    uint32_t n_pos;
    uint32_t n; // channels of a position
};

// How far ahead values are asked for, in the second cache.
enum { AHEAD_BYTES = 16384 };

// acc[h][i] += sums over 32 positions. No weight is negative, as VPMADDUBSW wants one of its sides:
// 2 * 127 * 128 = 32512 < 2^15.
KLLM_INLINE void add_block(__m256 acc[][4], const uint8_t *quants, uint32_t n,
                           const struct weights *weights, uint32_t n_head) {
    __m256i s[TILE_HEADS][4];
    for (uint32_t j = 0; j < 8; j++, quants += 4 * n) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(quants + 32 * i));
            if (i % 2 == 0) {
                _mm_prefetch((const char *)quants + 32 * i + AHEAD_BYTES, _MM_HINT_T1);
            }
            KLLM_UNROLL
            for (uint32_t h = 0; h < n_head; h++) {
                __m256i w = _mm256_set1_epi32(weights[h].q[j]);
                __m256i products = _mm256_maddubs_epi16(w, v);
                products = _mm256_madd_epi16(products, _mm256_set1_epi16(1));
                s[h][i] = j == 0 ? products : _mm256_add_epi32(s[h][i], products);
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            acc[h][i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[h][i]), _mm256_set1_ps(weights[h].d),
                                        acc[h][i]);
        }
    }
}

// 32 channels of n_head heads.
KLLM_INLINE void mix_tile(float *out, const float *p, struct values v, uint32_t p_stride,
                          uint32_t n_head) {
    __m256 acc[TILE_HEADS][4];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            acc[h][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t t = 0; t < v.n_pos; t += AHEAD_BLOCKS * KLLM_QK) {
        struct weights weights[AHEAD_BLOCKS][4];
        uint32_t n_left = v.n_pos - t;
        weigh_blocks(weights, p + t, p_stride, v.scales + (uint64_t)t * (v.n / KLLM_QK),
                     v.n / KLLM_QK, n_left, n_head);
        for (uint32_t b = 0; b < AHEAD_BLOCKS && b * KLLM_QK < n_left; b++) {
            add_block(acc, v.quants + (uint64_t)(t + b * KLLM_QK) * v.n, v.n, weights[b], n_head);
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            _mm256_storeu_ps(out + (uint64_t)h * v.n + 8 * i, acc[h][i]);
        }
    }
}

void kllm_attn_mix_f32_q8_0_avx2(float *out, const float *p, const void *v, uint32_t n_pos,
                                 uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t n_ctx,
                                 void *work) {
    (void)work;
    const uint8_t *quants = v;
    const uint16_t *scales = (const uint16_t *)(const void *)(quants + v_q8_scale_off(n_ctx, n));
    for (uint32_t d = 0; d < n; d += KLLM_QK) {
        struct values values = {quants + 4 * d, scales + d / KLLM_QK, n_pos, n};
        uint32_t h = 0;
        for (; h + TILE_HEADS <= n_head; h += TILE_HEADS) {
            mix_tile(out + (uint64_t)h * n + d, p + (uint64_t)h * p_stride, values, p_stride,
                     TILE_HEADS);
        }
        if (h < n_head) {
            mix_tile(out + (uint64_t)h * n + d, p + (uint64_t)h * p_stride, values, p_stride, 1);
        }
    }
}
