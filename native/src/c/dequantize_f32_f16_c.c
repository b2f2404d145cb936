// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"

void kllm_dequantize_f32_f16_c(float *y, const void *w, uint32_t row, uint32_t cols) {
    const uint16_t *weights = (const uint16_t *)w + (uint64_t)row * cols;
    for (uint32_t i = 0; i < cols; i++) {
        y[i] = f32_of_f16(weights[i]);
    }
}
