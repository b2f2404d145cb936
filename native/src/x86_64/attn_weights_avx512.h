// SPDX-License-Identifier: Apache-2.0
// Weights of attention over q8_0 values: p[t] * dv[t], quantised in blocks of 32 positions.
//
// Four blocks of up to four heads at once: the maximum of a block and its two quotients stand in
// one lane. More positions at once would leave memory idle meanwhile.
#ifndef KLLM_ATTN_WEIGHTS_AVX512_H
#define KLLM_ATTN_WEIGHTS_AVX512_H

#include "avx512.h"

enum { TILE_HEADS = 4, BATCH_BLOCKS = 4, BATCH = BATCH_BLOCKS * KLLM_QK };

// What the positions of a batch weigh. None is negative, since neither p nor dv is.
struct weights {
    uint8_t q[TILE_HEADS][BATCH];
    float d[TILE_HEADS][BATCH_BLOCKS];
};

// Scales of positions [0, n) of 16, f16 that lie stride apart; zeros behind.
KLLM_INLINE __m512 load_value_scales(const uint16_t *scales, uint32_t stride, uint32_t n) {
    if (stride == 2) { // both scales of a position are an aligned word
        int odd = (uintptr_t)scales % 4 != 0;
        __m512i pairs = _mm512_maskz_loadu_epi32(first_lanes(n), scales - odd);
        return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(odd ? _mm512_srli_epi32(pairs, 16) : pairs));
    }
    uint16_t half[16] = {0};
    for (uint32_t t = 0; t < min_u32(n, 16); t++) {
        half[t] = scales[(uint64_t)t * stride];
    }
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)half));
}

/// Weighs positions [0, n) for n_head heads: p[t] * dv[t], zeros to the end of the batch.
KLLM_INLINE void weigh(struct weights *out, const float *p, uint32_t p_stride,
                       const uint16_t *scales, uint32_t stride, uint32_t n, uint32_t n_head) {
    float w[TILE_HEADS][BATCH] __attribute__((aligned(64)));
    __m512 quads[BATCH_BLOCKS];
    KLLM_UNROLL
    for (uint32_t b = 0; b < BATCH_BLOCKS; b++) {
        __m512 max[TILE_HEADS];
        KLLM_UNROLL
        for (uint32_t h = 0; h < TILE_HEADS; h++) {
            max[h] = _mm512_setzero_ps();
        }
        KLLM_UNROLL
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t t = b * KLLM_QK + 16 * i;
            uint32_t n_left = t < n ? n - t : 0;
            __m512 dv = load_value_scales(scales + (uint64_t)t * stride, stride, n_left);
            KLLM_UNROLL
            for (uint32_t h = 0; h < n_head; h++) { // VMAXPS: the second operand if one is NaN
                const float *first = p + (uint64_t)h * p_stride + t;
                __m512 v = _mm512_maskz_loadu_ps(first_lanes(n_left), first);
                v = _mm512_mul_ps(v, dv);
                max[h] = _mm512_max_ps(v, max[h]);
                _mm512_store_ps(w[h] + t, v);
            }
        }
        quads[b] = join_rows(max, JOIN_MAX);
    }
    __m512 max = join_quads(quads, JOIN_MAX); // lane 4 h + b
    const __m512 limit = _mm512_set1_ps(127.0f);
    __mmask16 used = _mm512_cmp_ps_mask(max, _mm512_set1_ps(KLLM_Q8_TINY), _CMP_NLT_UQ);
    float id[TILE_HEADS][BATCH_BLOCKS] __attribute__((aligned(64)));
    _mm512_storeu_ps(out->d[0], _mm512_maskz_div_ps(used, max, limit));
    _mm512_store_ps(id[0], _mm512_maskz_div_ps(used, limit, max));
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t t = 0; t < BATCH; t += 16) {
            // |x * id| <= 127.5, so adding KLLM_ROUND leaves the rounded integer in the low bits.
            __m512 v = _mm512_mul_ps(_mm512_load_ps(w[h] + t), _mm512_set1_ps(id[h][t / KLLM_QK]));
            v = _mm512_add_ps(v, _mm512_set1_ps(KLLM_ROUND));
            _mm_storeu_si128((__m128i *)(void *)(out->q[h] + t),
                             _mm512_cvtepi32_epi8(_mm512_castps_si512(v)));
        }
    }
}

#endif
