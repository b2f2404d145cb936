// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

void kllm_swiglu_f32_avx2(float *y, const float *gate, const float *up, uint32_t n) {
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 g = load_first(gate + i, n - i);
        __m256 silu = _mm256_div_ps(g, one_plus_exp_minus(g));
        store_first(y + i, _mm256_mul_ps(silu, load_first(up + i, n - i)), n - i);
    }
}
