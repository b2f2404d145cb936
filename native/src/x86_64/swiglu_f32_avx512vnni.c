// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "avx512.h"

// The first n_left of 16 n values, n a constant.
KLLM_INLINE void join_gates(float *y, const float *gate, const float *up, uint32_t n,
                            uint32_t n_left) {
    __m512 e[MAX_VECTORS];
    __m512 g[MAX_VECTORS];
    __mmask16 valid = first_lanes(n_left);
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        g[i] = _mm512_maskz_loadu_ps(valid, gate + 16 * i);
        e[i] = _mm512_xor_ps(g[i], _mm512_set1_ps(-0.0f));
    }
    exp_vectors(e, n);
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        __m512 silu = _mm512_div_ps(g[i], _mm512_add_ps(_mm512_set1_ps(1.0f), e[i]));
        __m512 v = _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(valid, up + 16 * i));
        _mm512_mask_storeu_ps(y + 16 * i, valid, v);
    }
}

void kllm_swiglu_f32_avx512vnni(float *y, const float *gate, const float *up, uint32_t n) {
    uint32_t i = 0;
    for (; i + 16 * MAX_VECTORS <= n; i += 16 * MAX_VECTORS) {
        join_gates(y + i, gate + i, up + i, MAX_VECTORS, 16);
    }
    for (; i < n; i += 16) {
        join_gates(y + i, gate + i, up + i, 1, n - i);
    }
}
