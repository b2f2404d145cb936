// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__)
#error "this file needs AVX-512 VNNI, BW and DQ"
#endif
#include "../layout.h"
#include "attn_weights_avx512.h"

struct values {
    const uint8_t *quants;  // of the first of 32 channels
    const uint16_t *scales; // of the first position
    uint32_t n_pos;
    uint32_t n; // channels of a position
};

// How far ahead values are asked for, in the second cache.
enum { AHEAD_BYTES = 16384 };

// acc[h][i] += sums over the 32 positions of block b of a batch.
KLLM_INLINE void add_block(__m512 acc[][2], const uint8_t *quants, uint32_t n,
                           const struct weights *weights, uint32_t b, uint32_t n_head) {
    __m512i s[TILE_HEADS][2];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        s[h][0] = s[h][1] = _mm512_setzero_si512();
    }
    KLLM_UNROLL
    for (uint32_t j = 0; j < 8; j++) {
        __m512i v[2];
        KLLM_UNROLL
        for (uint32_t i = 0; i < 2; i++) {
            const uint8_t *at = quants + (uint64_t)j * 4 * n + 64 * i;
            v[i] = _mm512_loadu_si512(at);
            _mm_prefetch((const char *)at + AHEAD_BYTES, _MM_HINT_T1);
        }
        KLLM_UNROLL
        for (uint32_t h = 0; h < n_head; h++) { // VPDPBUSD: unsigned weights, signed values
            const int32_t *q = (const int32_t *)(const void *)(weights->q[h] + b * KLLM_QK);
            __m512i w = _mm512_set1_epi32(q[j]);
            s[h][0] = _mm512_dpbusd_epi32(s[h][0], w, v[0]);
            s[h][1] = _mm512_dpbusd_epi32(s[h][1], w, v[1]);
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        __m512 d = _mm512_set1_ps(weights->d[h][b]);
        acc[h][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[h][0]), d, acc[h][0]);
        acc[h][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[h][1]), d, acc[h][1]);
    }
}

// 32 channels of n_head heads.
KLLM_INLINE void mix_tile(float *out, const float *p, struct values v, uint32_t p_stride,
                          uint32_t n_head) {
    __m512 acc[TILE_HEADS][2];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        acc[h][0] = acc[h][1] = _mm512_setzero_ps();
    }
    uint32_t stride = v.n / KLLM_QK;
    for (uint32_t t = 0; t < v.n_pos; t += BATCH) {
        struct weights weights;
        uint32_t n = min_u32(v.n_pos - t, BATCH);
        weigh(&weights, p + t, p_stride, v.scales + (uint64_t)t * stride, stride, n, n_head);
        for (uint32_t b = 0; b * KLLM_QK < n; b++) {
            add_block(acc, v.quants + (uint64_t)(t + b * KLLM_QK) * v.n, v.n, &weights, b, n_head);
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        _mm512_storeu_ps(out + (uint64_t)h * v.n, acc[h][0]);
        _mm512_storeu_ps(out + (uint64_t)h * v.n + 16, acc[h][1]);
    }
}

void kllm_attn_mix_f32_q8_0_avx512vnni(float *out, const float *p, const void *v, uint32_t n_pos,
                                       uint32_t n, uint32_t n_head, uint32_t p_stride,
                                       uint32_t n_ctx, void *work) {
    (void)work;
    const uint8_t *quants = v;
    const uint16_t *scales = (const uint16_t *)(const void *)(quants + v_q8_scale_off(n_ctx, n));
    for (uint32_t d = 0; d < n; d += KLLM_QK) {
        struct values values = {quants + 4 * d, scales + d / KLLM_QK, n_pos, n};
        uint32_t n_tile;
        for (uint32_t h = 0; h < n_head; h += n_tile) {
            float *y = out + (uint64_t)h * n + d;
            const float *weights = p + (uint64_t)h * p_stride;
            n_tile = min_u32(n_head - h, TILE_HEADS);
            if (n_tile == 1) {
                mix_tile(y, weights, values, p_stride, 1);
            } else if (n_tile == 2) {
                mix_tile(y, weights, values, p_stride, 2);
            } else if (n_tile == 3) {
                mix_tile(y, weights, values, p_stride, 3);
            } else {
                mix_tile(y, weights, values, p_stride, TILE_HEADS);
            }
        }
    }
}
