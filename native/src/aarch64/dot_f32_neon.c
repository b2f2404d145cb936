// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

float kllm_dot_f32_neon(const float *a, const float *b, uint32_t n) {
    return dot_neon(a, b, n);
}
