// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

// The rotated pair: (a cos - b sin, a sin + b cos), rounded as kllm_rope_fn says.
KLLM_INLINE float32x4x2_t rotate(float32x4_t a, float32x4_t b, float32x4x2_t cs) {
    float32x4_t x = vfmaq_f32(vnegq_f32(vmulq_f32(b, cs.val[1])), a, cs.val[0]);
    float32x4_t y = vfmaq_f32(vmulq_f32(b, cs.val[0]), a, cs.val[1]);
    return (float32x4x2_t){{x, y}};
}

void kllm_rope_f32_neon(float *x, const float *cs, uint32_t n_head, uint32_t head_dim,
                        uint32_t n_rot, uint32_t pairing) {
    uint32_t n_pair = n_rot / 2;
    uint32_t first = pairing == KLLM_ROPE_ADJACENT ? 2 : 1;
    uint32_t second = pairing == KLLM_ROPE_ADJACENT ? 1 : n_pair;
    for (uint32_t h = 0; h < n_head; h++, x += head_dim) {
        uint32_t i = 0;
        for (; i + 4 <= n_pair; i += 4) {
            float32x4x2_t angle = vld2q_f32(cs + 2 * i);
            if (pairing == KLLM_ROPE_ADJACENT) {
                float32x4x2_t pair = vld2q_f32(x + 2 * i);
                vst2q_f32(x + 2 * i, rotate(pair.val[0], pair.val[1], angle));
            } else {
                float32x4x2_t out = rotate(vld1q_f32(x + i), vld1q_f32(x + i + n_pair), angle);
                vst1q_f32(x + i, out.val[0]);
                vst1q_f32(x + i + n_pair, out.val[1]);
            }
        }
        for (; i < n_pair; i++) {
            float a = x[first * i];
            float b = x[first * i + second];
            x[first * i] = fma_f32(a, cs[2 * i], -(b * cs[2 * i + 1]));
            x[first * i + second] = fma_f32(a, cs[2 * i + 1], b * cs[2 * i]);
        }
    }
}
