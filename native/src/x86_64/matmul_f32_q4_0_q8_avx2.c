// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "matmul_avx2.h"

void kllm_matmul_f32_q4_0_q8_avx2(float *y, const void *w, const void *x, uint32_t rows,
                                  uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    multiply_quantised(y, w, x, rows, cols, n_token, y_stride,
                       (struct weight_type){KLLM_Q4_BLOCK, KLLM_SCALE_BLOCK, 3});
}
