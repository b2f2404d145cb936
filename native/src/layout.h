// SPDX-License-Identifier: Apache-2.0
// Where the parts of packed weights and quantised activations lie; docs/image.md has the picture.
#ifndef KLLM_LAYOUT_H
#define KLLM_LAYOUT_H

#include "base.h"

// Quantised weights: groups of KLLM_GROUP rows. A group holds its quants, block by block, then its
// scales, and is padded to KLLM_ALIGN. Within a block lie 64-byte chunks of [16 rows][4 bytes].
enum kllm_layout_bytes {
    KLLM_CHUNK = 64,       // 16 rows of 4 bytes
    KLLM_Q4_BLOCK = 256,   // quants of a block of 16 rows, two elements per byte
    KLLM_Q8_BLOCK = 512,   // quants of a block of 16 rows, one element per byte
    KLLM_SCALE_BLOCK = 32, // f16[16]
};

KLLM_INLINE uint64_t group_bytes_q4_0(uint32_t cols) {
    return align_up((uint64_t)(cols / KLLM_QK) * (KLLM_Q4_BLOCK + KLLM_SCALE_BLOCK), KLLM_ALIGN);
}

KLLM_INLINE uint64_t group_bytes_q4_1(uint32_t cols) {
    return align_up((uint64_t)(cols / KLLM_QK) * (KLLM_Q4_BLOCK + 2 * KLLM_SCALE_BLOCK),
                    KLLM_ALIGN);
}

KLLM_INLINE uint64_t group_bytes_q8_0(uint32_t cols) {
    return align_up((uint64_t)(cols / KLLM_QK) * (KLLM_Q8_BLOCK + KLLM_SCALE_BLOCK), KLLM_ALIGN);
}

// One row of quantised activations ("q8"): int8 q[n], float d[n / 32], int32 sum[n / 32], where
// sum is that of the 32 q of the block; padded to KLLM_ALIGN.
struct q8_row {
    const int8_t *q;
    const float *d;
    const int32_t *sum;
};

KLLM_INLINE uint64_t q8_bytes(uint32_t n) {
    return align_up((uint64_t)n + n / 4, KLLM_ALIGN);
}

KLLM_INLINE struct q8_row q8_row_of(const void *rows, uint32_t row, uint32_t n) {
    const uint8_t *base = (const uint8_t *)rows + row * q8_bytes(n);
    return (struct q8_row){(const int8_t *)base, (const float *)(const void *)(base + n),
                           (const int32_t *)(const void *)(base + n + n / 8)};
}

// Values of the V cache in q8_0: blocks of 32 positions; in a block, chunks of 4 positions of
// [n] int8[4]; behind all quants of n_ctx positions the scales f16[n_ctx][n / 32].
KLLM_INLINE uint64_t v_q8_scale_off(uint32_t n_ctx, uint32_t n) {
    return align_up(n_ctx, KLLM_QK) * n;
}

KLLM_INLINE uint64_t v_q8_quant_off(uint32_t pos, uint32_t d, uint32_t n) {
    return (uint64_t)(pos / 4) * 4 * n + (uint64_t)d * 4 + pos % 4;
}

#endif
