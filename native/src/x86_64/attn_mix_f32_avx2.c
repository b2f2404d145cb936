// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "attn_mix_avx2.h"

void kllm_attn_mix_f32_avx2(float *out, const float *p, const void *v, uint32_t n_pos, uint32_t n,
                            uint32_t n_head, uint32_t p_stride, uint32_t n_ctx, void *work) {
    (void)n_ctx, (void)work;
    mix(out, p, v, n_pos, n, n_head, p_stride, 4);
}
