// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

void kllm_layernorm_f32_neon(float *y, const float *x, const float *w, const float *b, uint32_t n,
                             float eps) {
    float mean = sum_neon(x, n) / (float)n;
    float32x4_t means = vdupq_n_f32(mean);
    struct lanes acc = lanes_zero();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) { // centres and squares in one pass, in the order of the dot
        struct lanes c = lanes_load(x + i);
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            c.v[j] = vsubq_f32(c.v[j], means);
            vst1q_f32(y + i + 4 * j, c.v[j]);
        }
        acc = lanes_fma(acc, c, c);
    }
    if (i < n) {
        for (uint32_t j = i; j < n; j++) {
            y[j] = x[j] - mean;
        }
        acc = lanes_fma_tail(acc, y + i, y + i, n - i);
    }
    float r = 1.0f / __builtin_sqrtf(lanes_tree(acc) / (float)n + eps);
    for (i = 0; i + 8 <= n; i += 8) {
        float32x4_t low = vmulq_n_f32(vld1q_f32(y + i), r);
        float32x4_t high = vmulq_n_f32(vld1q_f32(y + i + 4), r);
        vst1q_f32(y + i, vfmaq_f32(vld1q_f32(b + i), low, vld1q_f32(w + i)));
        vst1q_f32(y + i + 4, vfmaq_f32(vld1q_f32(b + i + 4), high, vld1q_f32(w + i + 4)));
    }
    for (; i < n; i++) {
        y[i] = fma_f32(y[i] * r, w[i], b[i]);
    }
}
