// SPDX-License-Identifier: Apache-2.0
// Reading one row of packed weights back as floats.
#ifndef KLLM_DEQUANTIZE_NEON_H
#define KLLM_DEQUANTIZE_NEON_H

#include "neon.h"

/// Gathers the four 4-byte pieces of a row that stand KLLM_CHUNK bytes apart.
KLLM_INLINE uint8x16_t gather_row(const uint8_t *first) {
    uint32_t piece[4];
    KLLM_UNROLL
    for (uint32_t j = 0; j < 4; j++) {
        memcpy(&piece[j], first + j * KLLM_CHUNK, 4);
    }
    return vreinterpretq_u8_u32(vld1q_u32(piece));
}

/// Widens 16 int8 to floats.
KLLM_INLINE struct lanes lanes_of_s8(int8x16_t q) {
    int16x8_t low = vmovl_s8(vget_low_s8(q));
    int16x8_t high = vmovl_high_s8(q);
    return (struct lanes){
        {vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
         vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}

/// Writes 16 int8 times d.
KLLM_INLINE void store_scaled(float *y, int8x16_t q, float d) {
    struct lanes a = lanes_of_s8(q);
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        vst1q_f32(y + 4 * i, vmulq_n_f32(a.v[i], d));
    }
}

#endif
