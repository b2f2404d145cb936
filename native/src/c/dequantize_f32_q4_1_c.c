// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"
#include "../layout.h"

void kllm_dequantize_f32_q4_1_c(float *y, const void *w, uint32_t row, uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_q4_1(cols);
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q4_BLOCK);
    for (uint32_t b = 0; b < n_block; b++) {
        float d = f32_of_f16(scale[b * 2 * KLLM_GROUP + r]);
        float m = f32_of_f16(scale[(b * 2 + 1) * KLLM_GROUP + r]);
        for (uint32_t k = 0; k < KLLM_QK / 2; k++) {
            int32_t byte = group[b * KLLM_Q4_BLOCK + k / 4 * KLLM_CHUNK + r * 4 + k % 4];
            y[b * KLLM_QK + k] = fma_f32((float)(byte & 15), d, m);
            y[b * KLLM_QK + k + KLLM_QK / 2] = fma_f32((float)(byte >> 4), d, m);
        }
    }
}
