// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"
#include "../libm.h"

void kllm_softmax_f32_c(float *x, uint32_t n, float scale) {
    for (uint32_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
    float max = max_f32(x, n);
    for (uint32_t i = 0; i < n; i++) {
        x[i] = exp_f32(x[i] - max);
    }
    float r = 1.0f / kllm_sum_f32_c(x, n);
    for (uint32_t i = 0; i < n; i++) {
        x[i] *= r;
    }
}
