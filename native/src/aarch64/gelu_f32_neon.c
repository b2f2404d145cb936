// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

void kllm_gelu_f32_neon(float *y, const float *x, uint32_t n) {
    float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t c1 = vdupq_n_f32(KLLM_GELU_C1);
    float32x4_t c3 = vdupq_n_f32(KLLM_GELU_C3);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t a = vld1q_f32(x + i);
        float32x4_t u2 = vmulq_f32(vfmaq_f32(c1, vmulq_f32(a, a), c3), a);
        vst1q_f32(y + i, vdivq_f32(a, vaddq_f32(one, exp_neon(vnegq_f32(u2)))));
    }
    for (; i < n; i++) {
        float u2 = fma_f32(x[i] * x[i], KLLM_GELU_C3, KLLM_GELU_C1) * x[i];
        y[i] = x[i] / (1.0f + exp_f32(-u2));
    }
}
