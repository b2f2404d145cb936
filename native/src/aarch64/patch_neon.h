// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 16 packed rows.
#ifndef KLLM_PATCH_NEON_H
#define KLLM_PATCH_NEON_H

// Few enough that the columns of a group take 4 KiB of the stack.
enum { TILE_TOKENS = 64, TILE_COLUMNS = 64 };

#include "../patch.h"
#include "neon.h"

enum weight_format { FORMAT_Q4_0, FORMAT_Q4_1, FORMAT_Q8_0 };

// A column of a group: where its 16 words stand, by how much they are shifted left so that the
// element is on top (q8_0) or at the bottom (nibbles), and where its scales stand.
struct column {
    uint64_t quant_off;
    uint64_t scale_off;
    int32x4_t shift;
};

KLLM_INLINE struct column column_of(enum weight_format format, struct place place) {
    int32_t bit = (int32_t)place.shift;
    return (struct column){place.words_off, place.scales_off,
                           vdupq_n_s32(format == FORMAT_Q8_0 ? 24 - bit : -bit)};
}

// The 16 elements of a column in a group, as kllm_dequantize_fn reads them.
KLLM_INLINE struct lanes read_column(enum weight_format format, const uint8_t *group,
                                     const struct column *column) {
    const uint16_t *scales = (const uint16_t *)(const void *)(group + column->scale_off);
    struct lanes d = lanes_load_f16(scales);
    struct lanes m = format == FORMAT_Q4_1 ? lanes_load_f16(scales + KLLM_GROUP) : lanes_zero();
    struct lanes out;
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
        out.v[i] = format == FORMAT_Q4_1 ? vfmaq_f32(m.v[i], vcvtq_f32_s32(q), d.v[i])
                                         : vmulq_f32(vcvtq_f32_s32(q), d.v[i]);
    }
    return out;
}

// The n_row rows of a group that exist.
KLLM_INLINE struct lanes load_rows(const float *y, uint32_t n_row) {
    if (n_row >= KLLM_GROUP) {
        return lanes_load(y);
    }
    float part[KLLM_GROUP] = {0};
    memcpy(part, y, n_row * sizeof *y);
    return lanes_load(part);
}

KLLM_INLINE void store_rows(float *y, struct lanes rows, uint32_t n_row) {
    if (n_row >= KLLM_GROUP) {
        lanes_store(y, rows);
        return;
    }
    float part[KLLM_GROUP];
    lanes_store(part, rows);
    memcpy(y, part, n_row * sizeof *y);
}

// The values of a token's outliers: in memory columns lie between them.
KLLM_INLINE float32x4_t factors_of(const struct outlier x[KLLM_N_OUTLIER]) {
    return vld2q_f32(&x->x).val[0];
}

// acc + element * factor k, a constant.
KLLM_INLINE float32x4_t add_product(float32x4_t acc, float32x4_t element, float32x4_t factors,
                                    uint32_t k) {
    return k == 0   ? vfmaq_laneq_f32(acc, element, factors, 0)
           : k == 1 ? vfmaq_laneq_f32(acc, element, factors, 1)
           : k == 2 ? vfmaq_laneq_f32(acc, element, factors, 2)
                    : vfmaq_laneq_f32(acc, element, factors, 3);
}

// One token, straight from the packed rows.
KLLM_INLINE void patch_one(enum weight_format format, float *y, const uint8_t *w,
                           const struct outlier *x, uint32_t rows, struct packed_type type) {
    struct column column[KLLM_N_OUTLIER];
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        column[k] = column_of(format, place_of(x[k].col, type));
    }
    float32x4_t factors = factors_of(x);
    uint32_t r = 0;
    for (; r + KLLM_GROUP <= rows; r += KLLM_GROUP, w += type.group_bytes) {
        struct lanes acc = lanes_load(y + r);
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            struct lanes elements = read_column(format, w, &column[k]);
            KLLM_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                acc.v[i] = add_product(acc.v[i], elements.v[i], factors, k);
            }
        }
        lanes_store(y + r, acc);
    }
    for (uint32_t k = 0; k < KLLM_N_OUTLIER && r < rows; k++) { // rare, so it is small instead
        struct lanes elements = read_column(format, w, &column[k]);
        struct lanes acc = load_rows(y + r, rows - r);
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            acc.v[i] = vfmaq_n_f32(acc.v[i], elements.v[i], x[k].x);
        }
        store_rows(y + r, acc, rows - r);
    }
}

// The n_row rows of a group that exist times the tokens of a tile.
KLLM_INLINE void patch_group(enum weight_format format, float *y, const uint8_t *group,
                             const struct tile *tile, const struct outlier *x, uint32_t n_row,
                             uint32_t y_stride) {
    struct lanes columns[TILE_COLUMNS];
    for (uint32_t i = 0; i < tile->n_column; i++) {
        struct column column = column_of(format, tile->places[i]);
        columns[i] = read_column(format, group, &column);
    }
    for (uint32_t t = 0; t < tile->n_token; t++, y += y_stride, x += KLLM_N_OUTLIER) {
        struct lanes acc = load_rows(y, n_row);
        float32x4_t factors = factors_of(x);
        KLLM_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            KLLM_UNROLL
            for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
                float32x4_t element = columns[tile->column_of[t][k]].v[i];
                acc.v[i] = add_product(acc.v[i], element, factors, k);
            }
        }
        store_rows(y, acc, n_row);
    }
}

/// kllm_patch_fn for the quantised format whose blocks have these sizes.
KLLM_INLINE void patch_neon(enum weight_format format, float *y, const void *w,
                            const struct outlier *x, uint32_t rows, uint32_t cols,
                            uint32_t n_token, uint32_t y_stride, uint32_t block_bytes,
                            uint32_t scale_bytes) {
    struct packed_type type = packed_type(block_bytes, scale_bytes, cols);
    struct tile tile;
    for (uint32_t t = 0; t < n_token; t += tile.n_token) {
        if (n_token - t < LEAST_TOKENS) {
            patch_one(format, y, w, x, rows, type);
            tile.n_token = 1;
        } else {
            make_tile(&tile, x, n_token - t, type);
            const uint8_t *group = w;
            for (uint32_t r = 0; r < rows; r += KLLM_GROUP, group += type.group_bytes) {
                patch_group(format, y + r, group, &tile, x, rows - r, y_stride);
            }
        }
        x += (uint64_t)tile.n_token * KLLM_N_OUTLIER;
        y += (uint64_t)tile.n_token * y_stride;
    }
}

#endif
