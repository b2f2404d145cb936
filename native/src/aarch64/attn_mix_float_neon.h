// SPDX-License-Identifier: Apache-2.0
// Values weighted by attention, f32 and f16: 16 channels of up to 4 heads stay in registers while
// positions pass by, so a value is loaded (and converted) once for all heads. Positions are taken in
// parts, whose values are then in the first cache for the next channels.
#ifndef KLLM_ATTN_MIX_FLOAT_NEON_H
#define KLLM_ATTN_MIX_FLOAT_NEON_H

#include "neon.h"

enum mix_tile { MIX_CHANNELS = 16, MIX_HEADS = 4, MIX_POSITIONS = 64 };

KLLM_INLINE struct lanes load_values(int is_f16, const void *v, uint64_t off) {
    return is_f16 ? lanes_load_f16((const uint16_t *)v + off) : lanes_load((const float *)v + off);
}

// Adds n_pos positions to 16 channels from d on, or begins with them. n_head is constant and at most
// MIX_HEADS.
KLLM_INLINE void mix_tile(int is_f16, int begins, float *out, const float *p, const void *v,
                          uint32_t n_pos, uint32_t n, uint32_t n_head, uint32_t p_stride,
                          uint32_t d) {
    struct lanes acc[MIX_HEADS];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        acc[h] = begins ? lanes_zero() : lanes_load(out + (uint64_t)h * n + d);
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

// The same for all channels.
KLLM_INLINE void mix_heads(int is_f16, int begins, float *out, const float *p, const void *v,
                           uint32_t n_pos, uint32_t n, uint32_t n_head, uint32_t p_stride) {
    for (uint32_t d = 0; d < n; d += MIX_CHANNELS) {
        mix_tile(is_f16, begins, out, p, v, n_pos, n, n_head, p_stride, d);
    }
}

/// kllm_attn_mix_fn for f32 (is_f16 0) or f16 (is_f16 1) values.
KLLM_INLINE void attn_mix_float_neon(int is_f16, float *out, const float *p, const void *v,
                                     uint32_t n_pos, uint32_t n, uint32_t n_head,
                                     uint32_t p_stride) {
    for (uint32_t t = 0; t < n_pos; t += MIX_POSITIONS) {
        const uint8_t *values = (const uint8_t *)v + (uint64_t)t * n * (is_f16 ? 2 : 4);
        uint32_t n_part = min_u32(MIX_POSITIONS, n_pos - t);
        for (uint32_t h = 0; h < n_head; h += MIX_HEADS) {
            float *y = out + (uint64_t)h * n;
            const float *weights = p + (uint64_t)h * p_stride + t;
            switch (n_head - h) {
            case 1:
                mix_heads(is_f16, t == 0, y, weights, values, n_part, n, 1, p_stride);
                break;
            case 2:
                mix_heads(is_f16, t == 0, y, weights, values, n_part, n, 2, p_stride);
                break;
            case 3:
                mix_heads(is_f16, t == 0, y, weights, values, n_part, n, 3, p_stride);
                break;
            default:
                mix_heads(is_f16, t == 0, y, weights, values, n_part, n, MIX_HEADS, p_stride);
                break;
            }
        }
    }
}

#endif
