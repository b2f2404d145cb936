// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

float kllm_sum_f32_avx2(const float *x, uint32_t n) {
    return sum_lanes(x, n);
}
