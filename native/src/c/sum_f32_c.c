// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"
#include "../libm.h"

float kllm_sum_f32_c(const float *x, uint32_t n) {
    float lane[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        lane[i % 16] += x[i];
    }
    return tree_f32(lane);
}
