// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"
#include "../libm.h"

static float dot_f32_f16(const uint16_t *a, const float *b, uint32_t n) {
    float lane[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        lane[i % 16] = fma_f32(f32_of_f16(a[i]), b[i], lane[i % 16]);
    }
    return tree_f32(lane);
}

void kllm_matmul_f32_f16_c(float *y, const void *w, const void *x, uint32_t rows, uint32_t cols,
                           uint32_t n_token, uint32_t y_stride) {
    const uint16_t *weights = w;
    const float *xs = x;
    for (uint32_t t = 0; t < n_token; t++) {
        for (uint32_t r = 0; r < rows; r++) {
            y[(uint64_t)t * y_stride + r] =
                dot_f32_f16(weights + (uint64_t)r * cols, xs + (uint64_t)t * cols, cols);
        }
    }
}
