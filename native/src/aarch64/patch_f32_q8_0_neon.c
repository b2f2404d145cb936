// SPDX-License-Identifier: Apache-2.0
#include "patch_neon.h"

static inline struct lanes column(const uint8_t *group, uint32_t col, uint32_t n_block) {
    const uint8_t *block = group + col / KLLM_QK * KLLM_Q8_BLOCK;
    const uint8_t *scales = group + n_block * KLLM_Q8_BLOCK + col / KLLM_QK * KLLM_SCALE_BLOCK;
    return lanes_mul(bytes_at(block, col), scales_at(scales));
}

void kllm_patch_f32_q8_0_neon(float *y, const void *w, const struct outlier *x, uint32_t rows,
                              uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    patch_rows(y, w, x, rows, cols, n_token, y_stride, group_bytes_q8_0(cols), column);
}
