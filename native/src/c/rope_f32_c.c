// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"

void kllm_rope_f32_c(float *x, const float *cs, uint32_t n_head, uint32_t head_dim, uint32_t n_rot,
                     uint32_t pairing) {
    uint32_t first = pairing == KLLM_ROPE_ADJACENT ? 2 : 1;
    uint32_t second = pairing == KLLM_ROPE_ADJACENT ? 1 : n_rot / 2;
    for (uint32_t h = 0; h < n_head; h++, x += head_dim) {
        for (uint32_t i = 0; i < n_rot / 2; i++) {
            float a = x[first * i];
            float b = x[first * i + second];
            x[first * i] = fma_f32(a, cs[2 * i], -(b * cs[2 * i + 1]));
            x[first * i + second] = fma_f32(a, cs[2 * i + 1], b * cs[2 * i]);
        }
    }
}
