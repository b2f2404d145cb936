// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

void kllm_rmsnorm_f32_neon(float *y, const float *x, const float *w, uint32_t n, float eps) {
    float r = 1.0f / __builtin_sqrtf(dot_neon(x, x, n) / (float)n + eps);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float32x4_t low = vmulq_n_f32(vld1q_f32(x + i), r);
        float32x4_t high = vmulq_n_f32(vld1q_f32(x + i + 4), r);
        vst1q_f32(y + i, vmulq_f32(low, vld1q_f32(w + i)));
        vst1q_f32(y + i + 4, vmulq_f32(high, vld1q_f32(w + i + 4)));
    }
    for (; i < n; i++) {
        y[i] = x[i] * r * w[i];
    }
}
