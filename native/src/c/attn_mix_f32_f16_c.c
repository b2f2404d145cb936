// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"

void kllm_attn_mix_f32_f16_c(float *out, const float *p, const void *v, uint32_t n_pos, uint32_t n,
                             uint32_t n_head, uint32_t p_stride, uint32_t n_ctx, void *work) {
    (void)n_ctx, (void)work;
    const uint16_t *values = v;
    for (uint32_t h = 0; h < n_head; h++, p += p_stride, out += n) {
        for (uint32_t d = 0; d < n; d++) {
            float acc = 0.0f;
            for (uint32_t t = 0; t < n_pos; t++) {
                acc = fma_f32(p[t], f32_of_f16(values[(uint64_t)t * n + d]), acc);
            }
            out[d] = acc;
        }
    }
}
