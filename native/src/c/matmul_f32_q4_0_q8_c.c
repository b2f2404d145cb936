// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"
#include "../layout.h"

static int32_t block_sum(const uint8_t *quants, const int8_t *q) {
    int32_t s = 0; // |s| <= 32 * 8 * 127
    for (uint32_t j = 0; j < 4; j++) {
        for (uint32_t i = 0; i < 4; i++) {
            int32_t byte = quants[j * KLLM_CHUNK + i];
            s += ((byte & 15) - 8) * q[4 * j + i] + ((byte >> 4) - 8) * q[16 + 4 * j + i];
        }
    }
    return s;
}

void kllm_matmul_f32_q4_0_q8_c(float *y, const void *w, const void *x, uint32_t rows,
                               uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    uint32_t n_block = cols / KLLM_QK;
    for (uint32_t t = 0; t < n_token; t++) {
        struct q8_row act = q8_row_of(x, t, cols);
        for (uint32_t r = 0; r < rows; r++) {
            const uint8_t *group = (const uint8_t *)w + r / KLLM_GROUP * group_bytes_q4_0(cols);
            const uint16_t *d = (const uint16_t *)(const void *)(group + n_block * KLLM_Q4_BLOCK);
            float acc = 0.0f;
            for (uint32_t b = 0; b < n_block; b++) {
                int32_t s =
                    block_sum(group + b * KLLM_Q4_BLOCK + r % KLLM_GROUP * 4, act.q + b * KLLM_QK);
                float dw = f32_of_f16(d[b * KLLM_GROUP + r % KLLM_GROUP]);
                acc = fma_f32((float)s, dw * act.d[b], acc);
            }
            y[(uint64_t)t * y_stride + r] = acc;
        }
    }
}
