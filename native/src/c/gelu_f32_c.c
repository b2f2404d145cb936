// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"
#include "../libm.h"

void kllm_gelu_f32_c(float *y, const float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        float u2 = fma_f32(x[i] * x[i], KLLM_GELU_C3, KLLM_GELU_C1) * x[i];
        y[i] = x[i] / (1.0f + exp_f32(-u2));
    }
}
