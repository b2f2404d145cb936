// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "matmul_float_avx512.h"

void kllm_matmul_f32_avx512vnni(float *y, const void *w, const void *x, uint32_t rows,
                                uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    multiply_float(y, w, x, rows, cols, n_token, y_stride, 4);
}
