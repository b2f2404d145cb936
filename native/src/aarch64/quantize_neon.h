// SPDX-License-Identifier: Apache-2.0
// Quantising a block of 32 floats to int8, for activations and for the weights of attention.
#ifndef KLLM_QUANTIZE_NEON_H
#define KLLM_QUANTIZE_NEON_H

#include "neon.h"

// Low bytes of 16 integers in float form: x * id + KLLM_ROUND holds the integer in its low bits.
KLLM_INLINE int8x16_t round_16(const float32x4_t x[4], float id) {
    uint8x16_t part[4];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        float32x4_t t = vaddq_f32(vmulq_n_f32(x[i], id), vdupq_n_f32(KLLM_ROUND));
        part[i] = vreinterpretq_u8_f32(t);
    }
    uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_u8(part[0]), vreinterpretq_u16_u8(part[1]));
    uint16x8_t high = vuzp1q_u16(vreinterpretq_u16_u8(part[2]), vreinterpretq_u16_u8(part[3]));
    return vreinterpretq_s8_u8(vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)));
}

/// Writes the 32 int8 of a block to q and their sum to *sum; returns the scale.
KLLM_INLINE float quantize_block(int8_t *q, int32_t *sum, const float32x4_t x[8]) {
    float32x4_t max = vdupq_n_f32(0.0f);
    float32x4_t max2 = vdupq_n_f32(0.0f);
    KLLM_UNROLL
    for (uint32_t i = 0; i < 8; i += 2) {
        max = vmaxnmq_f32(max, vabsq_f32(x[i]));
        max2 = vmaxnmq_f32(max2, vabsq_f32(x[i + 1]));
    }
    float amax = vmaxnmvq_f32(vmaxnmq_f32(max, max2));
    float id = amax < KLLM_Q8_TINY ? 0.0f : 127.0f / amax;
    int8x16_t low = round_16(x, id);
    int8x16_t high = round_16(x + 4, id);
    vst1q_s8(q, low);
    vst1q_s8(q + 16, high);
    *sum = vaddlvq_s16(vpadalq_s8(vpaddlq_s8(low), high)); // 4 bytes a lane: |.| <= 508
    return amax < KLLM_Q8_TINY ? 0.0f : amax / 127.0f;
}

#endif
