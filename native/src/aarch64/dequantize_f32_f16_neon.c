// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

void kllm_dequantize_f32_f16_neon(float *y, const void *w, uint32_t row, uint32_t cols) {
    const uint16_t *weights = (const uint16_t *)w + (uint64_t)row * cols;
    uint32_t i = 0;
    for (; i + 16 <= cols; i += 16) {
        struct lanes a = lanes_load_f16(weights + i);
        for (uint32_t j = 0; j < 4; j++) {
            vst1q_f32(y + i + 4 * j, a.v[j]);
        }
    }
    for (; i < cols; i++) {
        y[i] = f32_of_f16_neon(weights + i);
    }
}
