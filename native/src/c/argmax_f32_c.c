// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"

uint32_t kllm_argmax_f32_c(const float *x, uint32_t n) {
    uint32_t best = 0;
    float max = -__builtin_inff();
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] > max) {
            max = x[i];
            best = i;
        }
    }
    return best;
}
