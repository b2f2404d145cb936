// SPDX-License-Identifier: Apache-2.0
// Sets of the bytes of a block, a bit for each: NEON.
#ifndef KLLM_BYTE_SETS_H
#define KLLM_BYTE_SETS_H

#include <arm_neon.h>

#include "../base.h"

struct bytes_64 {
    uint8x16_t part[4];
};

KLLM_INLINE struct bytes_64 load_64(const uint8_t *bytes) {
    return (struct bytes_64){
        {vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}};
}

// The bytes that are not 0 but 255.
KLLM_INLINE uint64_t true_set(struct bytes_64 b) {
    const uint8x16_t bits = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t low = vpaddq_u8(vandq_u8(b.part[0], bits), vandq_u8(b.part[1], bits));
    uint8x16_t high = vpaddq_u8(vandq_u8(b.part[2], bits), vandq_u8(b.part[3], bits));
    uint8x16_t all = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

// The bytes that are one of first .. last.
KLLM_INLINE uint64_t range_set(struct bytes_64 b, uint8_t first, uint8_t last) {
    uint8x16_t start = vdupq_n_u8(first);
    uint8x16_t most = vdupq_n_u8((uint8_t)(last - first));
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        b.part[i] = vcleq_u8(vsubq_u8(b.part[i], start), most);
    }
    return true_set(b);
}

KLLM_INLINE uint64_t byte_set(struct bytes_64 b, uint8_t byte) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        b.part[i] = vceqq_u8(b.part[i], vdupq_n_u8(byte));
    }
    return true_set(b);
}

// The bytes whose highest bit is set.
KLLM_INLINE uint64_t high_set(struct bytes_64 b) {
    return range_set(b, 0x80, 0xff);
}

// The bytes with a bit set in each.
KLLM_INLINE struct bytes_64 with_bits(struct bytes_64 b, uint8_t bits) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        b.part[i] = vorrq_u8(b.part[i], vdupq_n_u8(bits));
    }
    return b;
}

#endif
