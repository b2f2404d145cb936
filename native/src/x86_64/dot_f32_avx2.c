// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

float kllm_dot_f32_avx2(const float *a, const float *b, uint32_t n) {
    return dot_lanes(a, b, n);
}
