// SPDX-License-Identifier: Apache-2.0
// Values weighted by attention, f32 and f16: 16 channels of up to 4 heads stay in registers while
// the positions pass by, so a value is loaded (and converted) once for all heads.
#ifndef KLLM_ATTN_MIX_FLOAT_NEON_H
#define KLLM_ATTN_MIX_FLOAT_NEON_H

#include "neon.h"

enum mix_tile { MIX_CHANNELS = 16, MIX_HEADS = 4 };

KLLM_INLINE struct lanes load_values(int is_f16, const void *v, uint64_t off) {
    return is_f16 ? lanes_load_f16((const uint16_t *)v + off) : lanes_load((const float *)v + off);
}

// n_head is constant and at most MIX_HEADS; d is the first of the 16 channels.
KLLM_INLINE void mix_tile(int is_f16, float *out, const float *p, const void *v, uint32_t n_pos,
                          uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t d) {
    struct lanes acc[MIX_HEADS];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        acc[h] = lanes_zero();
    }
    for (uint32_t t = 0; t < n_pos; t++) {
        struct lanes value = load_values(is_f16, v, (uint64_t)t * n + d);
        KLLM_UNROLL
        for (uint32_t h = 0; h < n_head; h++) {
            float32x4_t weight = vld1q_dup_f32(p + (uint64_t)h * p_stride + t);
            KLLM_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                acc[h].v[i] = vfmaq_f32(acc[h].v[i], value.v[i], weight);
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            vst1q_f32(out + (uint64_t)h * n + d + 4 * i, acc[h].v[i]);
        }
    }
}

/// kllm_attn_mix_fn for f32 (is_f16 0) or f16 (is_f16 1) values.
KLLM_INLINE void attn_mix_float_neon(int is_f16, float *out, const float *p, const void *v,
                                     uint32_t n_pos, uint32_t n, uint32_t n_head,
                                     uint32_t p_stride) {
    for (uint32_t h = 0; h < n_head; h += MIX_HEADS) {
        float *y = out + (uint64_t)h * n;
        const float *weights = p + (uint64_t)h * p_stride;
        for (uint32_t d = 0; d < n; d += MIX_CHANNELS) {
            switch (n_head - h) {
            case 1:
                mix_tile(is_f16, y, weights, v, n_pos, n, 1, p_stride, d);
                break;
            case 2:
                mix_tile(is_f16, y, weights, v, n_pos, n, 2, p_stride, d);
                break;
            case 3:
                mix_tile(is_f16, y, weights, v, n_pos, n, 3, p_stride, d);
                break;
            default:
                mix_tile(is_f16, y, weights, v, n_pos, n, MIX_HEADS, p_stride, d);
                break;
            }
        }
    }
}

#endif
