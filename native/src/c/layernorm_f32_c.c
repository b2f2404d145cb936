// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"

void kllm_layernorm_f32_c(float *y, const float *x, const float *w, const float *b, uint32_t n,
                          float eps) {
    float mean = kllm_sum_f32_c(x, n) / (float)n;
    for (uint32_t i = 0; i < n; i++) {
        y[i] = x[i] - mean;
    }
    float r = 1.0f / __builtin_sqrtf(kllm_dot_f32_c(y, y, n) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = fma_f32(y[i] * r, w[i], b[i]);
    }
}
