// SPDX-License-Identifier: Apache-2.0
#include "quantize_neon.h"

void kllm_quantize_q8_f32_neon(void *row, const float *x, uint32_t n) {
    int8_t *q = row;
    float *d = (float *)(void *)((uint8_t *)row + n);
    int32_t *sum = (int32_t *)(void *)((uint8_t *)row + n + n / 8);
    for (uint32_t b = 0; b < n / KLLM_QK; b++, x += KLLM_QK, q += KLLM_QK) {
        float32x4_t block[8];
        for (uint32_t i = 0; i < 8; i++) {
            block[i] = vld1q_f32(x + 4 * i);
        }
        d[b] = quantize_block(q, &sum[b], block);
    }
}
