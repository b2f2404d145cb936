// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "dequantize_avx2.h"

void kllm_dequantize_f32_q8_0_avx2(float *y, const void *w, uint32_t row, uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_q8_0(cols);
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q8_BLOCK) + r;
    for (uint32_t b = 0; b < n_block; b++, y += KLLM_QK) {
        const uint8_t *block = group + b * KLLM_Q8_BLOCK + r * 4;
        float d = f32_of_f16(scale[b * KLLM_GROUP]);
        store_scaled(y, load_row_bytes(block), d, NULL);
        store_scaled(y + KLLM_QK / 2, load_row_bytes(block + 4 * KLLM_CHUNK), d, NULL);
    }
}
