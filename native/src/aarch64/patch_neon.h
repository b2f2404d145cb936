// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 16 packed rows.
#ifndef KLLM_PATCH_NEON_H
#define KLLM_PATCH_NEON_H

#include "neon.h"

// Where a column stands in a block of packed rows: which chunk, and which bits of each word.
struct place {
    uint32_t chunk_off;
    int32_t shift;
};

KLLM_INLINE struct place place_q4(uint32_t col) {
    uint32_t in_block = col % KLLM_QK;
    return (struct place){in_block % 16 / 4 * KLLM_CHUNK,
                          (int32_t)(in_block % 4 * 8 + in_block / 16 * 4)};
}

KLLM_INLINE struct place place_q8(uint32_t col) {
    uint32_t in_block = col % KLLM_QK;
    return (struct place){in_block / 4 * KLLM_CHUNK, (int32_t)(in_block % 4 * 8)};
}

// Words of rows 4 i .. 4 i + 3 in the chunk of a column.
KLLM_INLINE uint32x4_t words_at(const uint8_t *block, struct place place, uint32_t i) {
    return vreinterpretq_u32_u8(vld1q_u8(block + place.chunk_off + 16 * i));
}

KLLM_INLINE struct lanes nibbles_at(const uint8_t *block, uint32_t col, int32_t offset) {
    struct place place = place_q4(col);
    struct lanes out;
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        uint32x4_t words = vshlq_u32(words_at(block, place, i), vdupq_n_s32(-place.shift));
        int32x4_t q = vreinterpretq_s32_u32(vandq_u32(words, vdupq_n_u32(15)));
        out.v[i] = vcvtq_f32_s32(vsubq_s32(q, vdupq_n_s32(offset)));
    }
    return out;
}

KLLM_INLINE struct lanes bytes_at(const uint8_t *block, uint32_t col) {
    struct place place = place_q8(col);
    struct lanes out;
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        uint32x4_t words = vshlq_u32(words_at(block, place, i), vdupq_n_s32(24 - place.shift));
        out.v[i] = vcvtq_f32_s32(vshrq_n_s32(vreinterpretq_s32_u32(words), 24));
    }
    return out;
}

KLLM_INLINE struct lanes scales_at(const uint8_t *scales) {
    return lanes_load_f16((const uint16_t *)(const void *)scales);
}

KLLM_INLINE struct lanes lanes_mul(struct lanes a, struct lanes b) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        a.v[i] = vmulq_f32(a.v[i], b.v[i]);
    }
    return a;
}

// The elements of the 16 rows of a group in a column.
typedef struct lanes column_fn(const uint8_t *group, uint32_t col, uint32_t n_block);

/// kllm_patch_fn for rows whose columns `column` reads.
KLLM_INLINE void patch_rows(float *y, const void *w, const struct outlier *x, uint32_t rows,
                            uint32_t cols, uint32_t n_token, uint32_t y_stride,
                            uint64_t group_bytes, column_fn *column) {
    const uint8_t *group = w;
    for (uint32_t r = 0; r < rows; r += KLLM_GROUP, group += group_bytes) {
        uint32_t n = min_u32(KLLM_GROUP, rows - r);
        for (uint32_t t = 0; t < n_token; t++) {
            const struct outlier *of_token = x + (uint64_t)t * KLLM_N_OUTLIER;
            float *to = y + (uint64_t)t * y_stride + r;
            float tail[KLLM_GROUP] = {0};
            if (n < KLLM_GROUP) {
                memcpy(tail, to, n * sizeof *to);
            }
            float *at = n < KLLM_GROUP ? tail : to;
            struct lanes acc = lanes_load(at);
            for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
                struct lanes element = column(group, of_token[k].col, cols / KLLM_QK);
                float32x4_t factor = vdupq_n_f32(of_token[k].x);
                acc = lanes_fma(acc, element, (struct lanes){{factor, factor, factor, factor}});
            }
            KLLM_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                vst1q_f32(at + 4 * i, acc.v[i]);
            }
            if (n < KLLM_GROUP) {
                memcpy(to, tail, n * sizeof *to);
            }
        }
    }
}

#endif
