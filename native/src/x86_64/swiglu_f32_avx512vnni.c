// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "avx512.h"

void kllm_swiglu_f32_avx512vnni(float *y, const float *gate, const float *up, uint32_t n) {
    const __m512 one = _mm512_set1_ps(1.0f);
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 valid = first_lanes(n - i);
        __m512 g = _mm512_maskz_loadu_ps(valid, gate + i);
        __m512 e = exp_lanes(_mm512_xor_ps(g, _mm512_set1_ps(-0.0f)));
        __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, e));
        __m512 v = _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(valid, up + i));
        _mm512_mask_storeu_ps(y + i, valid, v);
    }
}
