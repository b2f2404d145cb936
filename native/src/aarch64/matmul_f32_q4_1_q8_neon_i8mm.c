// SPDX-License-Identifier: Apache-2.0
#include "matmul_neon_i8mm.h"

void kllm_matmul_f32_q4_1_q8_neon_i8mm(float *y, const void *w, const void *x, uint32_t rows,
                                       uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    matmul_neon_i8mm(FORMAT_Q4_1, kllm_matmul_f32_q4_1_q8_neon_dotprod, y, w, x, rows, cols,
                     n_token, y_stride);
}
