// SPDX-License-Identifier: Apache-2.0
#include "matmul_neon.h"

void kllm_matmul_f32_q4_0_q8_neon(float *y, const void *w, const void *x, uint32_t rows,
                                  uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    matmul_neon(FORMAT_Q4_0, y, w, x, rows, cols, n_token, y_stride);
}
