// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"
#include "../layout.h"

static float element(const uint8_t *group, uint32_t r, uint32_t col, uint32_t n_block) {
    uint32_t in_block = col % KLLM_QK;
    const uint8_t *quant = group + col / KLLM_QK * KLLM_Q4_BLOCK + in_block % 16 / 4 * KLLM_CHUNK;
    quant += r * 4 + in_block % 4;
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q4_BLOCK);
    scale += col / KLLM_QK * KLLM_GROUP + r;
    int32_t nibble = in_block < 16 ? *quant & 15 : *quant >> 4;
    return (float)(nibble - 8) * f32_of_f16(scale[0]);
}

void kllm_patch_f32_q4_0_c(float *y, const void *w, const struct outlier *x, uint32_t rows,
                           uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    for (uint32_t t = 0; t < n_token; t++, y += y_stride, x += KLLM_N_OUTLIER) {
        for (uint32_t r = 0; r < rows; r++) {
            const uint8_t *group = (const uint8_t *)w + r / KLLM_GROUP * group_bytes_q4_0(cols);
            for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
                float element_k = element(group, r % KLLM_GROUP, x[k].col, cols / KLLM_QK);
                y[r] = fma_f32(element_k, x[k].x, y[r]);
            }
        }
    }
}
