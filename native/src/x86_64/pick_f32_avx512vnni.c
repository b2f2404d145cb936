// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include <immintrin.h>

#include "pick.h"

// Magnitudes of the first n of 16 floats, zeros behind.
KLLM_INLINE __m512 magnitudes(const float *x, uint32_t n) {
    __mmask16 valid = n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
    return _mm512_abs_ps(_mm512_maskz_loadu_ps(valid, x));
}

// Lane j: the largest magnitude of x[i], i = j mod 16. VMAXPS gives its second operand where one
// is NaN.
static __m512 largest_of_lanes(const float *x, uint32_t n) {
    __m512 max[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    uint32_t i = 0;
    for (; i + 64 <= n; i += 64) {
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            max[j] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i + 16 * j)), max[j]);
        }
    }
    for (; i < n; i += 16) {
        max[0] = _mm512_max_ps(magnitudes(x + i, n - i), max[0]);
    }
    return _mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3]));
}

// A magnitude that KLLM_N_OUTLIER elements or more reach: the least of 4 maxima over 4 lanes each.
static float reached_by_enough(__m512 lanes) {
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_min_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_min_ss(b, _mm_movehdup_ps(b)));
}

void kllm_pick_f32_avx512vnni(struct outlier *out, float *x, uint32_t n) {
    // Zeros are never taken, so a bound of 0 becomes the least number above it.
    __m512 bound = _mm512_set1_ps(at_least_tiny(reached_by_enough(largest_of_lanes(x, n))));
    struct taken taken = {0};
    for (uint32_t i = 0; i < n; i += 16) {
        take(&taken, x, i, _mm512_cmp_ps_mask(magnitudes(x + i, n - i), bound, _CMP_GE_OQ));
    }
    finish(&taken, out, x);
}
