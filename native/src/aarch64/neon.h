// SPDX-License-Identifier: Apache-2.0
// What the NEON kernels of the floor (armv8.0-a) share: lanes, reductions, exp, loads of packed rows.
#ifndef KLLM_NEON_H
#define KLLM_NEON_H

#include <arm_neon.h>

#include "../kernels.h"
#include "../layout.h"
#include "../libm.h"

// The 16 lanes of a canonical reduction: lane j stands in v[j / 4], element j % 4.
struct lanes {
    float32x4_t v[4];
};

KLLM_INLINE struct lanes lanes_zero(void) {
    float32x4_t zero = vdupq_n_f32(0.0f);
    return (struct lanes){{zero, zero, zero, zero}};
}

/// Adds the lanes pairwise: j with j+8, then +4, +2, +1.
KLLM_INLINE float lanes_tree(struct lanes a) {
    float32x4_t s = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
    return vpadds_f32(vadd_f32(vget_low_f32(s), vget_high_f32(s)));
}

KLLM_INLINE struct lanes lanes_load(const float *x) {
    return (struct lanes){{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}

KLLM_INLINE void lanes_store(float *y, struct lanes a) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        vst1q_f32(y + 4 * i, a.v[i]);
    }
}

/// Loads 16 binary16 values as floats.
KLLM_INLINE struct lanes lanes_load_f16(const uint16_t *x) {
    float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(x));
    float16x8_t high = vreinterpretq_f16_u16(vld1q_u16(x + 8));
    return (struct lanes){{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
                           vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)}};
}

KLLM_INLINE struct lanes lanes_fma(struct lanes acc, struct lanes a, struct lanes b) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        acc.v[i] = vfmaq_f32(acc.v[i], a.v[i], b.v[i]);
    }
    return acc;
}

KLLM_INLINE float f32_of_f16_neon(const uint16_t *x) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vld1_dup_u16(x))), 0);
}

/// Adds the products of the n < 16 elements behind the last whole 16 to lanes 0 .. n-1.
KLLM_INLINE struct lanes lanes_fma_tail(struct lanes acc, const float *a, const float *b,
                                        uint32_t n) {
    float lane[16];
    lanes_store(lane, acc);
    for (uint32_t i = 0; i < n; i++) {
        lane[i] = fma_f32(a[i], b[i], lane[i]);
    }
    return lanes_load(lane);
}

/// kllm_dot_fn.
KLLM_INLINE float dot_neon(const float *a, const float *b, uint32_t n) {
    struct lanes acc = lanes_zero();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        acc = lanes_fma(acc, lanes_load(a + i), lanes_load(b + i));
    }
    if (i < n) {
        acc = lanes_fma_tail(acc, a + i, b + i, n - i);
    }
    return lanes_tree(acc);
}

/// kllm_sum_fn.
KLLM_INLINE float sum_neon(const float *x, uint32_t n) {
    struct lanes acc = lanes_zero();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        struct lanes a = lanes_load(x + i);
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            acc.v[j] = vaddq_f32(acc.v[j], a.v[j]);
        }
    }
    if (i < n) {
        float lane[16];
        lanes_store(lane, acc);
        for (uint32_t j = 0; i + j < n; j++) {
            lane[j] += x[i + j];
        }
        acc = lanes_load(lane);
    }
    return lanes_tree(acc);
}

/// exp_f32 of libm.h, four at a time. FMAXNM and FMINNM return the number where the other is NaN.
KLLM_INLINE float32x4_t exp_neon(float32x4_t x) {
    x = vmaxnmq_f32(x, vdupq_n_f32(KLLM_EXP_MIN));
    x = vminnmq_f32(x, vdupq_n_f32(KLLM_EXP_MAX));
    float32x4_t t = vfmaq_f32(vdupq_n_f32(KLLM_ROUND), x, vdupq_n_f32(KLLM_LOG2E));
    float32x4_t k = vsubq_f32(t, vdupq_n_f32(KLLM_ROUND));
    float32x4_t r = vfmaq_f32(x, k, vdupq_n_f32(-KLLM_LN2_HI));
    r = vfmaq_f32(r, k, vdupq_n_f32(-KLLM_LN2_LO));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(KLLM_EXP_C6), vdupq_n_f32(KLLM_EXP_C7), r);
    p = vfmaq_f32(vdupq_n_f32(KLLM_EXP_C5), p, r);
    p = vfmaq_f32(vdupq_n_f32(KLLM_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(KLLM_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(KLLM_EXP_C2), p, r);
    p = vfmaq_f32(r, vmulq_f32(p, r), r);
    int32x4_t bits = vshlq_n_s32(vreinterpretq_s32_f32(t), 23);
    float32x4_t scale = vreinterpretq_f32_s32(vaddq_s32(bits, vdupq_n_s32(0x3f800000)));
    return vfmaq_f32(scale, p, scale);
}

/// Largest of n values as max_f32 of libm.h.
KLLM_INLINE float max_neon(const float *x, uint32_t n) {
    float32x4_t max = vdupq_n_f32(-__builtin_inff());
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        max = vmaxnmq_f32(max, vld1q_f32(x + i));
    }
    float best = vmaxnmvq_f32(max);
    for (; i < n; i++) {
        best = x[i] > best ? x[i] : best;
    }
    return best;
}

/// Scales of eight rows as floats.
KLLM_INLINE void load_scales(float32x4_t out[2], const uint16_t *scale) {
    float16x8_t d = vreinterpretq_f16_u16(vld1q_u16(scale));
    out[0] = vcvt_f32_f16(vget_low_f16(d));
    out[1] = vcvt_high_f32_f16(d);
}

#endif
