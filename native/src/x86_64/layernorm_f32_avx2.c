// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

void kllm_layernorm_f32_avx2(float *y, const float *x, const float *w, const float *b, uint32_t n,
                             float eps) {
    __m256 mean = _mm256_set1_ps(sum_lanes(x, n) / (float)n);
    for (uint32_t i = 0; i < n; i += 8) {
        store_first(y + i, _mm256_sub_ps(load_first(x + i, n - i), mean), n - i);
    }
    __m256 r = _mm256_set1_ps(1.0f / __builtin_sqrtf(dot_lanes(y, y, n) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(load_first(y + i, n - i), r);
        v = _mm256_fmadd_ps(v, load_first(w + i, n - i), load_first(b + i, n - i));
        store_first(y + i, v, n - i);
    }
}
