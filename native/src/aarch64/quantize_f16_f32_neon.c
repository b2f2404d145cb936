// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "../kernels.h"

void kllm_quantize_f16_f32_neon(void *row, const float *x, uint32_t n) {
    uint16_t *out = row;
    for (uint32_t i = 0; i < n; i += 8) {
        vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
        vst1_u16(out + i + 4, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i + 4))));
    }
}
