// SPDX-License-Identifier: Apache-2.0
// Weights of attention over q8_0 values: p[t] * dv[t] of 32 positions, quantised to one block.
#ifndef KLLM_ATTN_WEIGHTS_AVX2_H
#define KLLM_ATTN_WEIGHTS_AVX2_H

#include "quantize_avx2.h"

// Blocks of positions whose weights are quantised before any of them is used: what quantises one
// block is a long chain, and many of them then run side by side.
enum { AHEAD_BLOCKS = 8 };

// What the 32 positions of a block weigh for one head.
struct weights {
    int32_t q[8]; // int8[32]
    float d;
};

// Scales of 8 positions, f16 that lie stride apart; zeros from position n on.
KLLM_INLINE __m256 load_value_scales(const uint16_t *scales, uint32_t stride, uint32_t n) {
    if (stride % 2 == 0 && n >= 8) { // pairs of scales lie in aligned words of 4 bytes
        int odd = (uintptr_t)scales % 4 != 0;
        const int32_t *pairs = (const int32_t *)(const void *)(scales - odd);
        const __m256i place = _mm256_mullo_epi32(_mm256_set1_epi32((int32_t)stride / 2),
                                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        __m256i v = stride == 2 ? _mm256_loadu_si256((const __m256i *)(const void *)pairs)
                                : _mm256_i32gather_epi32(pairs, place, 4);
        v = odd ? _mm256_srli_epi32(v, 16) : _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
        return _mm256_cvtph_ps(
            _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
    }
    uint16_t half[8] = {0};
    for (uint32_t t = 0; t < min_u32(n, 8); t++) {
        half[t] = scales[(uint64_t)t * stride];
    }
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)half));
}

/// Weighs up to AHEAD_BLOCKS blocks for n_head heads: p[t] * dv[t], where t < n, into
/// out[block][head].
KLLM_INLINE void weigh_blocks(struct weights out[][4], const float *p, uint32_t p_stride,
                              const uint16_t *scales, uint32_t stride, uint32_t n,
                              uint32_t n_head) {
    for (uint32_t b = 0; b < AHEAD_BLOCKS && b * 32 < n; b++) {
        __m256 dv[4];
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t t = b * 32 + i * 8;
            dv[i] = load_value_scales(scales + (uint64_t)t * stride, stride, t < n ? n - t : 0);
        }
        for (uint32_t h = 0; h < n_head; h++) {
            __m256 w[4];
            for (uint32_t i = 0; i < 4; i++) {
                uint32_t t = b * 32 + i * 8;
                const float *first = p + (uint64_t)h * p_stride + t;
                w[i] = _mm256_mul_ps(load_first(first, t < n ? n - t : 0), dv[i]);
            }
            __m256i q = quantize_block(w, &out[b][h].d);
            _mm256_storeu_si256((__m256i *)(void *)out[b][h].q, q);
        }
    }
}

#endif
