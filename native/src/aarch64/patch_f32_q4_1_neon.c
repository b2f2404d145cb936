// SPDX-License-Identifier: Apache-2.0
#include "patch_neon.h"

void kllm_patch_f32_q4_1_neon(float *y, const void *w, const struct outlier *x, uint32_t rows,
                              uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    patch_neon(FORMAT_Q4_1, y, w, x, rows, cols, n_token, y_stride, KLLM_Q4_BLOCK,
               2 * KLLM_SCALE_BLOCK);
}
