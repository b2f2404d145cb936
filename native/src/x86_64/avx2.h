// SPDX-License-Identifier: Apache-2.0
// What the AVX2 kernels of floats share: tails, the 16 lanes of sums, exp.
#ifndef KLLM_AVX2_H
#define KLLM_AVX2_H

#include <immintrin.h>

#include "../kernels.h"
#include "../libm.h"

// The 16 lanes of a canonical sum: lanes 0..7, lanes 8..15.
struct lanes16 {
    __m256 low;
    __m256 high;
};

// Mask of the first n of 8 lanes; n may be anything.
KLLM_INLINE __m256i first_lanes(int32_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The first n of 8 floats at x, n >= 0, zeros behind; reads no others.
KLLM_INLINE __m256 load_first(const float *x, uint32_t n) {
    return n >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, first_lanes((int32_t)n));
}

// Writes the first n of 8 floats.
KLLM_INLINE void store_first(float *y, __m256 v, uint32_t n) {
    if (n >= 8) {
        _mm256_storeu_ps(y, v);
    } else {
        _mm256_maskstore_ps(y, first_lanes((int32_t)n), v);
    }
}

KLLM_INLINE struct lanes16 zero_lanes(void) {
    return (struct lanes16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

/// Adds 16 lanes as tree_f32 does.
KLLM_INLINE float tree_lanes(struct lanes16 lanes) {
    __m256 a = _mm256_add_ps(lanes.low, lanes.high);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

/// kllm_dot_fn.
KLLM_INLINE float dot_lanes(const float *a, const float *b, uint32_t n) {
    struct lanes16 acc = zero_lanes();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        acc.low = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), acc.low);
        acc.high =
            _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), acc.high);
    }
    // A lane without an element keeps its bits: adding zero would turn -0 to +0.
    for (uint32_t half = 0; i + 8 * half < n; half++) {
        uint32_t first = i + 8 * half;
        __m256 old = half == 0 ? acc.low : acc.high;
        __m256 sum = _mm256_fmadd_ps(load_first(a + first, n - first),
                                     load_first(b + first, n - first), old);
        __m256i valid = first_lanes((int32_t)min_u32(n - first, 8));
        sum = _mm256_blendv_ps(old, sum, _mm256_castsi256_ps(valid));
        if (half == 0) {
            acc.low = sum;
        } else {
            acc.high = sum;
        }
    }
    return tree_lanes(acc);
}

/// kllm_sum_fn. Lanes start at +0 and so are never -0: zeros in the tail change nothing.
KLLM_INLINE float sum_lanes(const float *x, uint32_t n) {
    struct lanes16 acc = zero_lanes();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        acc.low = _mm256_add_ps(acc.low, _mm256_loadu_ps(x + i));
        acc.high = _mm256_add_ps(acc.high, _mm256_loadu_ps(x + i + 8));
    }
    if (i < n) {
        acc.low = _mm256_add_ps(acc.low, load_first(x + i, n - i));
    }
    if (i + 8 < n) {
        acc.high = _mm256_add_ps(acc.high, load_first(x + i + 8, n - i - 8));
    }
    return tree_lanes(acc);
}

/// exp_f32 of 8 values.
KLLM_INLINE __m256 exp_lanes(__m256 x) {
    x = _mm256_max_ps(x, _mm256_set1_ps(KLLM_EXP_MIN)); // the second operand if x is NaN
    x = _mm256_min_ps(x, _mm256_set1_ps(KLLM_EXP_MAX));
    __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(KLLM_LOG2E), _mm256_set1_ps(KLLM_ROUND));
    __m256 k = _mm256_sub_ps(t, _mm256_set1_ps(KLLM_ROUND));
    __m256 r = _mm256_fmadd_ps(k, _mm256_set1_ps(-KLLM_LN2_LO),
                               _mm256_fmadd_ps(k, _mm256_set1_ps(-KLLM_LN2_HI), x));
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(KLLM_EXP_C7), r, _mm256_set1_ps(KLLM_EXP_C6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KLLM_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KLLM_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KLLM_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KLLM_EXP_C2));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, r), r, r);
    __m256i scale_bits = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t), 23),
                                          _mm256_set1_epi32(0x3f800000));
    __m256 scale = _mm256_castsi256_ps(scale_bits);
    return _mm256_fmadd_ps(p, scale, scale);
}

/// 1 + exp(-x), the divisor of a sigmoid.
KLLM_INLINE __m256 one_plus_exp_minus(__m256 x) {
    __m256 minus = _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
    return _mm256_add_ps(_mm256_set1_ps(1.0f), exp_lanes(minus));
}

#endif
