// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of packed rows, 16 rows at a time. Where a column
// lies is worked out once for a token; the groups of rows then pass by.
#ifndef KLLM_PATCH_NEON_H
#define KLLM_PATCH_NEON_H

#include "neon.h"

enum weight_format { FORMAT_Q4_0, FORMAT_Q4_1, FORMAT_Q8_0 };

// A column of a group: where its 16 words stand, by how much they are shifted left so that the
// element is on top (q8_0) or at the bottom (nibbles), where its scales stand, and its factor.
struct column {
    uint64_t quant_off;
    uint64_t scale_off;
    int32x4_t shift;
    float32x4_t factor;
};

KLLM_INLINE struct column column_of(enum weight_format format, const struct outlier *x,
                                    uint32_t n_block) {
    uint32_t block = x->col / KLLM_QK;
    uint32_t i = x->col % KLLM_QK;
    uint32_t block_bytes = format == FORMAT_Q8_0 ? KLLM_Q8_BLOCK : KLLM_Q4_BLOCK;
    uint32_t scale_bytes = format == FORMAT_Q4_1 ? 2 * KLLM_SCALE_BLOCK : KLLM_SCALE_BLOCK;
    uint32_t chunk = format == FORMAT_Q8_0 ? i / 4 : i % 16 / 4;
    uint32_t low_bit = i % 4 * 8 + (format == FORMAT_Q8_0 ? 0 : i / 16 * 4);
    int32_t shift = format == FORMAT_Q8_0 ? 24 - (int32_t)low_bit : -(int32_t)low_bit;
    return (struct column){(uint64_t)block * block_bytes + chunk * KLLM_CHUNK,
                           (uint64_t)n_block * block_bytes + (uint64_t)block * scale_bytes,
                           vdupq_n_s32(shift), vdupq_n_f32(x->x)};
}

// Adds one column of a group times its factor, each weight rounded as kllm_dequantize_fn does.
KLLM_INLINE struct lanes add_column(enum weight_format format, struct lanes acc,
                                    const uint8_t *group, const struct column *column) {
    const uint16_t *scales = (const uint16_t *)(const void *)(group + column->scale_off);
    struct lanes d = lanes_load_f16(scales);
    struct lanes m = format == FORMAT_Q4_1 ? lanes_load_f16(scales + KLLM_GROUP) : lanes_zero();
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        uint32x4_t bytes = vreinterpretq_u32_u8(vld1q_u8(group + column->quant_off + 16 * i));
        uint32x4_t words = vshlq_u32(bytes, column->shift);
        uint32x4_t nibbles = vandq_u32(words, vdupq_n_u32(15));
        int32x4_t q = vreinterpretq_s32_u32(nibbles);
        if (format == FORMAT_Q8_0) {
            q = vshrq_n_s32(vreinterpretq_s32_u32(words), 24);
        } else if (format == FORMAT_Q4_0) {
            q = vsubq_s32(q, vdupq_n_s32(8));
        }
        float32x4_t w = format == FORMAT_Q4_1 ? vfmaq_f32(m.v[i], vcvtq_f32_s32(q), d.v[i])
                                              : vmulq_f32(vcvtq_f32_s32(q), d.v[i]);
        acc.v[i] = vfmaq_f32(acc.v[i], w, column->factor);
    }
    return acc;
}

KLLM_INLINE void patch_group(enum weight_format format, float *y, const uint8_t *group,
                             const struct column column[KLLM_N_OUTLIER]) {
    struct lanes acc = lanes_load(y);
    KLLM_UNROLL
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        acc = add_column(format, acc, group, &column[k]);
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        vst1q_f32(y + 4 * i, acc.v[i]);
    }
}

/// kllm_patch_fn for a quantised format whose groups of 16 rows take group_bytes.
KLLM_INLINE void patch_neon(enum weight_format format, float *y, const void *w,
                            const struct outlier *x, uint32_t rows, uint32_t cols,
                            uint32_t n_token, uint32_t y_stride, uint64_t group_bytes) {
    for (uint32_t t = 0; t < n_token; t++, x += KLLM_N_OUTLIER, y += y_stride) {
        struct column column[KLLM_N_OUTLIER];
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            column[k] = column_of(format, &x[k], cols / KLLM_QK);
        }
        const uint8_t *group = w;
        uint32_t r = 0;
        for (; r + KLLM_GROUP <= rows; r += KLLM_GROUP, group += group_bytes) {
            patch_group(format, y + r, group, column);
        }
        if (r < rows) {
            float tail[KLLM_GROUP] = {0};
            memcpy(tail, y + r, (rows - r) * sizeof *y);
            patch_group(format, tail, group, column);
            memcpy(y + r, tail, (rows - r) * sizeof *y);
        }
    }
}

#endif
