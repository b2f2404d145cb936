// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

void kllm_swiglu_f32_neon(float *y, const float *gate, const float *up, uint32_t n) {
    float32x4_t one = vdupq_n_f32(1.0f);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t silu = vdivq_f32(g, vaddq_f32(one, exp_neon(vnegq_f32(g))));
        vst1q_f32(y + i, vmulq_f32(silu, vld1q_f32(up + i)));
    }
    for (; i < n; i++) {
        y[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
    }
}
