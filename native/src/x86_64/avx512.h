// SPDX-License-Identifier: Apache-2.0
// What the AVX-512 kernels of floats share: tails, the 16 lanes of sums, exp.
#ifndef KLLM_AVX512_H
#define KLLM_AVX512_H

#include <immintrin.h>

#include "../kernels.h"
#include "../libm.h"

enum { MAX_VECTORS = 4 }; // of exp_vectors

/// Mask of the first n of 16 lanes; all of them for more.
KLLM_INLINE __mmask16 first_lanes(uint32_t n) {
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}

/// The largest of 16 lanes, none of which is NaN.
KLLM_INLINE float max_lanes(__m512 v) {
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

/// Adds 16 lanes as tree_f32 does.
KLLM_INLINE float tree_lanes(__m512 v) {
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

// What joins lanes: both are commutative, so the order within a pair is free.
enum join { JOIN_ADD, JOIN_MAX, JOIN_ADD_INT };

KLLM_INLINE __m512 join_pair(__m512 a, __m512 b, enum join join) {
    return join == JOIN_ADD   ? _mm512_add_ps(a, b)
           : join == JOIN_MAX ? _mm512_max_ps(a, b)
                              : _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a),
                                                                     _mm512_castps_si512(b)));
}

/// The first two steps of the trees of four vectors, lanes j with j + 8, then with j + 4: quad k
/// holds the 4 lanes that are left of vector k.
KLLM_INLINE __m512 join_rows(const __m512 v[4], enum join join) {
    __m512 half[2];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 2; i++) { // a blend is cheaper than a second shuffle
        __m512 crossed = _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x4e);
        __m512 straight = _mm512_mask_blend_ps(0xff00, v[2 * i], v[2 * i + 1]);
        half[i] = join_pair(straight, crossed, join);
    }
    return join_pair(_mm512_shuffle_f32x4(half[0], half[1], 0x88),
                     _mm512_shuffle_f32x4(half[0], half[1], 0xdd), join);
}

/// The last two steps: lane 4 k + g is what quad k of quads[g] comes to.
KLLM_INLINE __m512 join_quads(const __m512 quads[4], enum join join) {
    __m512 pair[2];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
        const __m512 *v = quads + 2 * i;
        pair[i] = join_pair(_mm512_shuffle_ps(v[0], v[1], 0x44),
                            _mm512_shuffle_ps(v[0], v[1], 0xee), join);
    }
    return join_pair(_mm512_shuffle_ps(pair[0], pair[1], 0x88),
                     _mm512_shuffle_ps(pair[0], pair[1], 0xdd), join);
}

/// exp_f32 of n vectors, n a constant. Each step is taken for all of them before the next: chain
/// after chain would fill the CPU's schedulers with what waits.
KLLM_INLINE void exp_vectors(__m512 *x, uint32_t n) {
    static const float coefficients[] = {KLLM_EXP_C6, KLLM_EXP_C5, KLLM_EXP_C4, KLLM_EXP_C3,
                                         KLLM_EXP_C2};
    __m512 t[MAX_VECTORS];
    __m512 r[MAX_VECTORS];
    __m512 p[MAX_VECTORS];
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        x[i] = _mm512_max_ps(x[i], _mm512_set1_ps(KLLM_EXP_MIN)); // the second operand if x is NaN
        x[i] = _mm512_min_ps(x[i], _mm512_set1_ps(KLLM_EXP_MAX));
        t[i] = _mm512_fmadd_ps(x[i], _mm512_set1_ps(KLLM_LOG2E), _mm512_set1_ps(KLLM_ROUND));
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        __m512 k = _mm512_sub_ps(t[i], _mm512_set1_ps(KLLM_ROUND));
        r[i] = _mm512_fmadd_ps(k, _mm512_set1_ps(-KLLM_LN2_HI), x[i]);
        r[i] = _mm512_fmadd_ps(k, _mm512_set1_ps(-KLLM_LN2_LO), r[i]);
        p[i] = _mm512_set1_ps(KLLM_EXP_C7);
    }
    KLLM_UNROLL
    for (uint32_t c = 0; c < sizeof coefficients / sizeof *coefficients; c++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < n; i++) {
            p[i] = _mm512_fmadd_ps(p[i], r[i], _mm512_set1_ps(coefficients[c]));
        }
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        p[i] = _mm512_fmadd_ps(_mm512_mul_ps(p[i], r[i]), r[i], r[i]);
        __m512i scale_bits = _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(t[i]), 23),
                                              _mm512_set1_epi32(0x3f800000));
        __m512 scale = _mm512_castsi512_ps(scale_bits);
        x[i] = _mm512_fmadd_ps(p[i], scale, scale);
    }
}

#endif
