// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

float kllm_sum_f32_neon(const float *x, uint32_t n) {
    return sum_neon(x, n);
}
