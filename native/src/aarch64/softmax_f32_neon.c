// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

void kllm_softmax_f32_neon(float *x, uint32_t n, float scale) {
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), scale));
    }
    for (; i < n; i++) {
        x[i] *= scale;
    }
    float max = max_neon(x, n);
    float32x4_t maxes = vdupq_n_f32(max);
    for (i = 0; i + 4 <= n; i += 4) {
        vst1q_f32(x + i, exp_neon(vsubq_f32(vld1q_f32(x + i), maxes)));
    }
    for (; i < n; i++) {
        x[i] = exp_f32(x[i] - max);
    }
    float r = 1.0f / sum_neon(x, n);
    for (i = 0; i + 4 <= n; i += 4) {
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), r));
    }
    for (; i < n; i++) {
        x[i] *= r;
    }
}
