// SPDX-License-Identifier: Apache-2.0
// The quantised weights of attention over a q8_0 V cache, for the armv8.0 and dotprod variants.
#ifndef KLLM_ATTN_MIX_Q8_0_NEON_H
#define KLLM_ATTN_MIX_Q8_0_NEON_H

#include "quantize_neon.h"

/// Quantises w[t] = p[t] * dv[t * n_channel_block] in blocks of 32 positions, with zeros past
/// n_pos, to int8 q[n_pos rounded up to 32] and one scale a block behind them.
KLLM_INLINE void quantize_weights(void *row, const float *p, const uint16_t *dv, uint32_t n_pos,
                                  uint32_t n_channel_block) {
    uint32_t n_block = (n_pos + KLLM_QK - 1) / KLLM_QK;
    int8_t *q = row;
    float *d = (float *)(void *)(q + n_block * KLLM_QK);
    for (uint32_t b = 0; b < n_block; b++, q += KLLM_QK, p += KLLM_QK) {
        uint32_t n = min_u32(KLLM_QK, n_pos - b * KLLM_QK);
        float w[KLLM_QK] = {0};
        for (uint32_t i = 0; i < n; i++, dv += n_channel_block) {
            w[i] = p[i] * f32_of_f16_neon(dv);
        }
        float32x4_t block[8];
        KLLM_UNROLL
        for (uint32_t i = 0; i < 8; i++) {
            block[i] = vld1q_f32(w + 4 * i);
        }
        int32_t sum;
        d[b] = quantize_block(q, &sum, block);
    }
}

/// Start of the scales of a V cache: f16[n_ctx][n / 32].
KLLM_INLINE const uint16_t *value_scales(const void *v, uint32_t n_ctx, uint32_t n) {
    return (const uint16_t *)(const void *)((const uint8_t *)v + v_q8_scale_off(n_ctx, n));
}

#endif
