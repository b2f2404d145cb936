// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "avx512.h"

// Scales x[n] and returns the largest, -infinity for none; NaN counts as absent.
static float scale_and_max(float *x, uint32_t n, float scale) {
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    __m512 max = none;
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 valid = first_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(valid, x + i), _mm512_set1_ps(scale));
        _mm512_mask_storeu_ps(x + i, valid, v);
        max = _mm512_max_ps(_mm512_mask_mov_ps(none, valid, v), max); // max where v is NaN
    }
    return max_lanes(max);
}

void kllm_softmax_f32_avx512vnni(float *x, uint32_t n, float scale) {
    __m512 max = _mm512_set1_ps(scale_and_max(x, n, scale));
    __m512 sum = _mm512_setzero_ps(); // never -0: what a tail adds, +0, changes nothing
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 valid = first_lanes(n - i);
        __m512 e = exp_lanes(_mm512_sub_ps(_mm512_maskz_loadu_ps(valid, x + i), max));
        _mm512_mask_storeu_ps(x + i, valid, e);
        sum = _mm512_add_ps(sum, _mm512_maskz_mov_ps(valid, e));
    }
    __m512 r = _mm512_set1_ps(1.0f / tree_lanes(sum));
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 valid = first_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(valid, x + i), r);
        _mm512_mask_storeu_ps(x + i, valid, v);
    }
}
