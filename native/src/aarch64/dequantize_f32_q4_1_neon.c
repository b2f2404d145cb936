// SPDX-License-Identifier: Apache-2.0
#include "dequantize_neon.h"

// Writes 16 nibbles times d plus m.
KLLM_INLINE void store_affine(float *y, uint8x16_t q, float d, float m) {
    struct lanes a = lanes_of_s8(vreinterpretq_s8_u8(q));
    for (uint32_t i = 0; i < 4; i++) {
        vst1q_f32(y + 4 * i, vfmaq_n_f32(vdupq_n_f32(m), a.v[i], d));
    }
}

void kllm_dequantize_f32_q4_1_neon(float *y, const void *w, uint32_t row, uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_q4_1(cols);
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q4_BLOCK) + r;
    for (uint32_t b = 0; b < n_block; b++, y += KLLM_QK) {
        uint8x16_t quants = gather_row(group + b * KLLM_Q4_BLOCK + r * 4);
        float d = f32_of_f16_neon(scale + b * 2 * KLLM_GROUP);
        float m = f32_of_f16_neon(scale + (b * 2 + 1) * KLLM_GROUP);
        store_affine(y, vandq_u8(quants, vdupq_n_u8(15)), d, m);
        store_affine(y + 16, vshrq_n_u8(quants, 4), d, m);
    }
}
