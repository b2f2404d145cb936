// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"

void kllm_matmul_f32_c(float *y, const void *w, const void *x, uint32_t rows, uint32_t cols,
                       uint32_t n_token, uint32_t y_stride) {
    const float *weights = w;
    const float *xs = x;
    for (uint32_t t = 0; t < n_token; t++) {
        for (uint32_t r = 0; r < rows; r++) {
            y[(uint64_t)t * y_stride + r] =
                kllm_dot_f32_c(weights + (uint64_t)r * cols, xs + (uint64_t)t * cols, cols);
        }
    }
}
