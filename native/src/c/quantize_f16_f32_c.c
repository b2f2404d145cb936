// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"

void kllm_quantize_f16_f32_c(void *row, const float *x, uint32_t n) {
    uint16_t *out = row;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = f16_of_f32(x[i]);
    }
}
