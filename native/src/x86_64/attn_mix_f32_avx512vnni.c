// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "attn_mix_avx512.h"

void kllm_attn_mix_f32_avx512vnni(float *out, const float *p, const void *v, uint32_t n_pos,
                                  uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t n_ctx,
                                  void *work) {
    (void)n_ctx, (void)work;
    mix(out, p, v, n_pos, n, n_head, p_stride, 4);
}
