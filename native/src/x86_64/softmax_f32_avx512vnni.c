// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "avx512.h"

// The first n of 16 floats times scale; zeros behind.
KLLM_INLINE __m512 scaled(const float *x, __mmask16 valid, float scale) {
    return _mm512_mul_ps(_mm512_maskz_loadu_ps(valid, x), _mm512_set1_ps(scale));
}

// Returns the largest of scale * x[n], -infinity for none; NaN counts as absent.
static float scaled_max(const float *x, uint32_t n, float scale) {
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    __m512 max[2] = {none, none};
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) { // VMAXPS: the second operand where the first is NaN
        max[0] = _mm512_max_ps(scaled(x + i, 0xffff, scale), max[0]);
        max[1] = _mm512_max_ps(scaled(x + i + 16, 0xffff, scale), max[1]);
    }
    for (; i < n; i += 16) {
        __mmask16 valid = first_lanes(n - i);
        __m512 v = _mm512_mask_mov_ps(none, valid, scaled(x + i, valid, scale));
        max[0] = _mm512_max_ps(v, max[0]);
    }
    return max_lanes(_mm512_max_ps(max[0], max[1]));
}

// Puts exp(scale * x - max) in the place of the first n_left of 16 n floats, n a constant; returns
// sum with them added in turn.
KLLM_INLINE __m512 exponentiate(float *x, uint32_t n, uint32_t n_left, float scale, __m512 max,
                                __m512 sum) {
    __m512 e[MAX_VECTORS];
    __mmask16 valid = first_lanes(n_left);
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        e[i] = _mm512_sub_ps(scaled(x + 16 * i, valid, scale), max);
    }
    exp_vectors(e, n);
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        _mm512_mask_storeu_ps(x + 16 * i, valid, e[i]);
        sum = _mm512_add_ps(sum, _mm512_maskz_mov_ps(valid, e[i]));
    }
    return sum;
}

void kllm_softmax_f32_avx512vnni(float *x, uint32_t n, float scale) {
    __m512 max = _mm512_set1_ps(scaled_max(x, n, scale));
    __m512 sum = _mm512_setzero_ps(); // never -0: what a tail adds, +0, changes nothing
    uint32_t i = 0;
    for (; i + 16 * MAX_VECTORS <= n; i += 16 * MAX_VECTORS) {
        sum = exponentiate(x + i, MAX_VECTORS, 16, scale, max, sum);
    }
    for (; i < n; i += 16) {
        sum = exponentiate(x + i, 1, n - i, scale, max, sum);
    }
    float r = 1.0f / tree_lanes(sum);
    for (i = 0; i + 16 <= n; i += 16) {
        _mm512_storeu_ps(x + i, scaled(x + i, 0xffff, r));
    }
    if (i < n) {
        __mmask16 valid = first_lanes(n - i);
        _mm512_mask_storeu_ps(x + i, valid, scaled(x + i, valid, r));
    }
}
