// SPDX-License-Identifier: Apache-2.0
#include "patch_neon.h"

static inline struct lanes column(const uint8_t *group, uint32_t col, uint32_t n_block) {
    const uint8_t *block = group + col / KLLM_QK * KLLM_Q4_BLOCK;
    const uint8_t *scales = group + n_block * KLLM_Q4_BLOCK + col / KLLM_QK * 2 * KLLM_SCALE_BLOCK;
    return lanes_fma(scales_at(scales + KLLM_SCALE_BLOCK), nibbles_at(block, col, 0),
                     scales_at(scales));
}

void kllm_patch_f32_q4_1_neon(float *y, const void *w, const struct outlier *x, uint32_t rows,
                              uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    patch_rows(y, w, x, rows, cols, n_token, y_stride, group_bytes_q4_1(cols), column);
}
