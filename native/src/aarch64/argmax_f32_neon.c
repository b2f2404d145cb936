// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

// First the largest value, then the first place that holds it: both passes are plain streams.
uint32_t kllm_argmax_f32_neon(const float *x, uint32_t n) {
    float max = max_neon(x, n);
    if (max == -__builtin_inff()) { // nothing above -infinity: index 0, as in the definition
        return 0;
    }
    float32x4_t wanted = vdupq_n_f32(max);
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        struct lanes a = lanes_load(x + i);
        uint32x4_t hit =
            vorrq_u32(vorrq_u32(vceqq_f32(a.v[0], wanted), vceqq_f32(a.v[1], wanted)),
                      vorrq_u32(vceqq_f32(a.v[2], wanted), vceqq_f32(a.v[3], wanted)));
        if (vmaxvq_u32(hit) != 0) {
            break;
        }
    }
    while (x[i] != max) { // max is one of x, so this ends
        i++;
    }
    return i;
}
