// SPDX-License-Identifier: Apache-2.0
#include "dequantize_neon.h"

void kllm_dequantize_f32_q4_0_neon(float *y, const void *w, uint32_t row, uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_q4_0(cols);
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q4_BLOCK) + r;
    int8x16_t eight = vdupq_n_s8(8);
    for (uint32_t b = 0; b < n_block; b++, y += KLLM_QK) {
        uint8x16_t quants = gather_row(group + b * KLLM_Q4_BLOCK + r * 4);
        float d = f32_of_f16_neon(scale + b * KLLM_GROUP);
        int8x16_t low = vreinterpretq_s8_u8(vandq_u8(quants, vdupq_n_u8(15)));
        int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(quants, 4));
        store_scaled(y, vsubq_s8(low, eight), d);
        store_scaled(y + 16, vsubq_s8(high, eight), d);
    }
}
