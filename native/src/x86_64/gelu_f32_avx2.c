// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

void kllm_gelu_f32_avx2(float *y, const float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 v = load_first(x + i, n - i);
        __m256 u2 = _mm256_fmadd_ps(_mm256_mul_ps(v, v), _mm256_set1_ps(KLLM_GELU_C3),
                                    _mm256_set1_ps(KLLM_GELU_C1));
        u2 = _mm256_mul_ps(u2, v);
        store_first(y + i, _mm256_div_ps(v, one_plus_exp_minus(u2)), n - i);
    }
}
