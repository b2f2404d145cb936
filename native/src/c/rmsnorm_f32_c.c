// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"

void kllm_rmsnorm_f32_c(float *y, const float *x, const float *w, uint32_t n, float eps) {
    float r = 1.0f / __builtin_sqrtf(kllm_dot_f32_c(x, x, n) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = x[i] * r * w[i];
    }
}
