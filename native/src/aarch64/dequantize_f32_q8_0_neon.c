// SPDX-License-Identifier: Apache-2.0
#include "dequantize_neon.h"

void kllm_dequantize_f32_q8_0_neon(float *y, const void *w, uint32_t row, uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_q8_0(cols);
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q8_BLOCK) + r;
    for (uint32_t b = 0; b < n_block; b++, y += KLLM_QK) {
        const uint8_t *quants = group + b * KLLM_Q8_BLOCK + r * 4;
        float d = f32_of_f16_neon(scale + b * KLLM_GROUP);
        store_scaled(y, vreinterpretq_s8_u8(gather_row(quants)), d);
        store_scaled(y + 16, vreinterpretq_s8_u8(gather_row(quants + 4 * KLLM_CHUNK)), d);
    }
}
