// SPDX-License-Identifier: Apache-2.0
// A block of 32 floats to int8, as kllm_quantize_fn says.
#ifndef KLLM_QUANTIZE_AVX2_H
#define KLLM_QUANTIZE_AVX2_H

#include "avx2.h"

/// Returns the 32 quants of the block v and sets its scale.
KLLM_INLINE __m256i quantize_block(const __m256 v[4], float *scale) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 max = _mm256_setzero_ps();
    for (uint32_t i = 0; i < 4; i++) {
        max = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), max);
    }
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    // Both divisions at once: lane 0 is amax / 127, lane 1 is 127 / amax.
    const __m128 limit = _mm_set_ss(127.0f);
    __m128 d = _mm_div_ps(_mm_unpacklo_ps(m, limit), _mm_unpacklo_ps(limit, m));
    if (_mm_comilt_ss(m, _mm_set_ss(KLLM_Q8_TINY))) {
        d = _mm_setzero_ps();
    }
    *scale = _mm_cvtss_f32(d);
    __m256 id = _mm256_broadcastss_ps(_mm_movehdup_ps(d));
    __m256i q[4];
    for (uint32_t i = 0; i < 4; i++) {
        // |x * id| <= 127.5, so adding KLLM_ROUND leaves the rounded integer in the low bits.
        __m256 rounded = _mm256_add_ps(_mm256_mul_ps(v[i], id), _mm256_set1_ps(KLLM_ROUND));
        q[i] = _mm256_and_si256(_mm256_castps_si256(rounded), _mm256_set1_epi32(0xff));
    }
    __m256i bytes =
        _mm256_packus_epi16(_mm256_packus_epi32(q[0], q[1]), _mm256_packus_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// Returns the sum of 32 signed bytes.
KLLM_INLINE int32_t sum_bytes(__m256i bytes) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
    __m256i s = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}

#endif
