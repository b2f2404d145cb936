// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

// The largest of x[n], -infinity for none; NaN counts as absent.
static float largest(const float *x, uint32_t n) {
    const __m256 none = _mm256_set1_ps(-__builtin_inff());
    __m256 max[4] = {none, none, none, none};
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (uint32_t j = 0; j < 4; j++) {
            max[j] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8 * j), max[j]);
        }
    }
    __m256 a = _mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3]));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    float best = _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
    for (; i < n; i++) {
        best = x[i] > best ? x[i] : best;
    }
    return best;
}

uint32_t kllm_argmax_f32_avx2(const float *x, uint32_t n) {
    float best = largest(x, n);
    if (best == -__builtin_inff()) {
        return 0;
    }
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 equal = _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(best), _CMP_EQ_OQ);
        uint32_t found = (uint32_t)_mm256_movemask_ps(equal);
        if (found != 0) {
            return i + (uint32_t)__builtin_ctz(found);
        }
    }
    while (x[i] != best) {
        i++;
    }
    return i;
}
