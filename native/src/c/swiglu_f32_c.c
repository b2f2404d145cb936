// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"
#include "../libm.h"

void kllm_swiglu_f32_c(float *y, const float *gate, const float *up, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        y[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
    }
}
