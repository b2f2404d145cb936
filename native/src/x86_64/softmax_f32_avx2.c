// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

// Scales x[n] and returns the largest, -infinity for none; NaN counts as absent.
static float scale_and_max(float *x, uint32_t n, float scale) {
    __m256 max = _mm256_set1_ps(-__builtin_inff());
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
        _mm256_storeu_ps(x + i, v);
        max = _mm256_max_ps(v, max);
    }
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    float best = _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
    for (; i < n; i++) {
        x[i] *= scale;
        best = x[i] > best ? x[i] : best;
    }
    return best;
}

// Replaces x[0..8) by exp(x - max), at most n of them, and returns them, zeros behind.
KLLM_INLINE __m256 exp_of(float *x, uint32_t n, __m256 max) {
    __m256 e = exp_lanes(_mm256_sub_ps(load_first(x, n), max));
    store_first(x, e, n);
    return n >= 8 ? e : _mm256_and_ps(e, _mm256_castsi256_ps(first_lanes((int32_t)n)));
}

void kllm_softmax_f32_avx2(float *x, uint32_t n, float scale) {
    __m256 max = _mm256_set1_ps(scale_and_max(x, n, scale));
    struct lanes16 sum = zero_lanes();
    for (uint32_t i = 0; i < n; i += 16) {
        sum.low = _mm256_add_ps(sum.low, exp_of(x + i, n - i, max));
        if (i + 8 < n) {
            sum.high = _mm256_add_ps(sum.high, exp_of(x + i + 8, n - i - 8, max));
        }
    }
    __m256 r = _mm256_set1_ps(1.0f / tree_lanes(sum));
    for (uint32_t i = 0; i < n; i += 8) {
        store_first(x + i, _mm256_mul_ps(load_first(x + i, n - i), r), n - i);
    }
}
