// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

void kllm_rmsnorm_f32_avx2(float *y, const float *x, const float *w, uint32_t n, float eps) {
    __m256 r = _mm256_set1_ps(1.0f / __builtin_sqrtf(dot_lanes(x, x, n) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(load_first(x + i, n - i), r);
        store_first(y + i, _mm256_mul_ps(v, load_first(w + i, n - i)), n - i);
    }
}
