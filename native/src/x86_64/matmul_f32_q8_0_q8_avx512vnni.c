// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512VNNI__)
#error "this file needs AVX-512 VNNI"
#endif
#include "matmul_avx512vnni.h"

void kllm_matmul_f32_q8_0_q8_avx512vnni(float *y, const void *w, const void *x, uint32_t rows,
                                        uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    multiply_quantised(y, w, x, rows, cols, n_token, y_stride,
                       (struct weight_type){KLLM_Q8_BLOCK, KLLM_SCALE_BLOCK, 7, 3, 24 * 1024});
}
