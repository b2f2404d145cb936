// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"
#include "../libm.h"

float kllm_dot_f32_c(const float *a, const float *b, uint32_t n) {
    float lane[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        lane[i % 16] = fma_f32(a[i], b[i], lane[i % 16]);
    }
    return tree_f32(lane);
}
