// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"
#include "pick.h"

// Magnitudes of the first n of 8 floats, zeros behind.
KLLM_INLINE __m256 magnitudes(const float *x, uint32_t n) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), load_first(x, n));
}

// A magnitude that at least KLLM_N_OUTLIER elements reach: the least of 4 maxima, each over every
// fourth element. VMAXPS gives its second operand where one is NaN.
static float reached_by_enough(const float *x, uint32_t n) {
    __m256 max[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (uint32_t j = 0; j < 4; j++) {
            max[j] = _mm256_max_ps(magnitudes(x + i + 8 * j, 8), max[j]);
        }
    }
    for (; i < n; i += 8) {
        max[0] = _mm256_max_ps(magnitudes(x + i, n - i), max[0]);
    }
    max[0] = _mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3]));
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max[0]), _mm256_extractf128_ps(max[0], 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

void kllm_pick_f32_avx2(struct outlier *out, float *x, uint32_t n) {
    // Zeros are never taken, so a bound of 0 becomes the least number above it.
    __m256 bound = _mm256_set1_ps(at_least_tiny(reached_by_enough(x, n)));
    struct taken taken = {0};
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 reached = _mm256_cmp_ps(magnitudes(x + i, n - i), bound, _CMP_GE_OQ);
        take(&taken, x, i, (uint32_t)_mm256_movemask_ps(reached));
    }
    finish(&taken, out, x);
}
