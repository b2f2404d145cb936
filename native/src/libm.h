// SPDX-License-Identifier: Apache-2.0
// The float functions of the canonical arithmetic: exp and the 16-lane reductions.
#ifndef KLLM_LIBM_H
#define KLLM_LIBM_H

#include "base.h"

// exp(x) = 2^k * e^r, k = round(x / ln 2), |r| <= ln(2)/2, e^r by the near-minimax
// polynomial of degree 7 (Chebyshev interpolation of (e^r - 1 - r) / r^2). Adding KLLM_ROUND
// rounds to an integer, which then stands in the low bits. The argument is clamped to
// [KLLM_EXP_MIN, KLLM_EXP_MAX], so that 2^k is always a normal number.
#define KLLM_ROUND 12582912.0f // 1.5 * 2^23
#define KLLM_EXP_MIN -87.0f
#define KLLM_EXP_MAX 88.0f
#define KLLM_LOG2E 1.44269504f
#define KLLM_LN2_HI 0.693145752f // 16 significant bits: k * LN2_HI is exact
#define KLLM_LN2_LO 1.42860677e-6f
#define KLLM_EXP_C2 0.5f
#define KLLM_EXP_C3 0.166666672f
#define KLLM_EXP_C4 0.0416664667f
#define KLLM_EXP_C5 0.0083332984f
#define KLLM_EXP_C6 0.00139336521f
#define KLLM_EXP_C7 0.000198992871f

#define KLLM_GELU_C1 1.59576912f   // 2 sqrt(2/pi)
#define KLLM_GELU_C3 0.0713548163f // C1 * 0.044715

// Blocks whose largest magnitude lies below this are quantised to zero: 127 / amax stays finite.
#define KLLM_Q8_TINY 0x1p-120f

/// Returns e^x for x clamped to [-87, 88]; NaN counts as -87. The error is below 1 ulp: 0.992 at
/// most over every float (tests/native/check_exp.c).
KLLM_INLINE float exp_f32(float x) {
    x = x > KLLM_EXP_MIN ? x : KLLM_EXP_MIN;
    x = x < KLLM_EXP_MAX ? x : KLLM_EXP_MAX;
    float t = fma_f32(x, KLLM_LOG2E, KLLM_ROUND);
    float k = t - KLLM_ROUND;
    float r = fma_f32(k, -KLLM_LN2_LO, fma_f32(k, -KLLM_LN2_HI, x));
    float p = fma_f32(KLLM_EXP_C7, r, KLLM_EXP_C6);
    p = fma_f32(p, r, KLLM_EXP_C5);
    p = fma_f32(p, r, KLLM_EXP_C4);
    p = fma_f32(p, r, KLLM_EXP_C3);
    p = fma_f32(p, r, KLLM_EXP_C2);
    p = fma_f32(p * r, r, r);
    float scale = f32_of_bits((bits_of_f32(t) << 23) + 0x3f800000u);
    return fma_f32(p, scale, scale);
}

/// Adds 16 lanes pairwise: j with j+8, then +4, +2, +1.
KLLM_INLINE float tree_f32(const float lane[16]) {
    float a[8];
    for (uint32_t j = 0; j < 8; j++) {
        a[j] = lane[j] + lane[j + 8];
    }
    for (uint32_t j = 0; j < 4; j++) {
        a[j] += a[j + 4];
    }
    return (a[0] + a[2]) + (a[1] + a[3]);
}

/// Returns the largest of n values, -infinity for none. NaN counts as absent.
KLLM_INLINE float max_f32(const float *x, uint32_t n) {
    float max = -__builtin_inff();
    for (uint32_t i = 0; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    return max;
}

#endif
