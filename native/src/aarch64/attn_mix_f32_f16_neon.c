// SPDX-License-Identifier: Apache-2.0
#include "attn_mix_float_neon.h"

void kllm_attn_mix_f32_f16_neon(float *out, const float *p, const void *v, uint32_t n_pos,
                                uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t n_ctx,
                                void *work) {
    (void)n_ctx, (void)work;
    attn_mix_float_neon(1, out, p, v, n_pos, n, n_head, p_stride);
}
