// SPDX-License-Identifier: Apache-2.0
// Packed matrices times "q8" rows on the armv8.0 floor, which has no SDOT.
//
// The unit of work is 8 rows x 1 block x 1 token: 32 SMULL/SMLAL (8 products each) into four
// accumulators of 8 int16, fed by two LD4R that copy a token's 4-column pieces to all lanes. For
// several tokens the block's weights are unpacked once into 16 registers and every token of the
// tile runs over them; the float accumulators then live in memory, for which there is no room.
#ifndef KLLM_MATMUL_NEON_H
#define KLLM_MATMUL_NEON_H

#include "neon.h"

enum weight_format { FORMAT_Q4_0, FORMAT_Q4_1, FORMAT_Q8_0 };
enum tile_shape { TILE_ROWS = 8, TILE_TOKENS = 16 };

// A block of 8 rows: w[g][h] holds columns 4g .. 4g+3 of rows 4h .. 4h+3.
struct weights {
    int8x16_t w[8][2];
};

// Sums over a block for 8 rows.
struct sums {
    int32x4_t s[2];
};

// A block of a token: its eight 4-column pieces, each copied to all four lanes.
struct piece {
    int32x4x4_t x[2];
};

/// Unpacks nibbles 0..15 of a block; the rows' bytes start at quants.
KLLM_INLINE struct weights load_nibbles(const uint8_t *quants) {
    struct weights out;
    uint8x16_t mask = vdupq_n_u8(15);
    KLLM_UNROLL
    for (uint32_t j = 0; j < 4; j++) {
        KLLM_UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            uint8x16_t bytes = vld1q_u8(quants + j * KLLM_CHUNK + h * 16);
            out.w[j][h] = vreinterpretq_s8_u8(vandq_u8(bytes, mask));
            out.w[j + 4][h] = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
        }
    }
    return out;
}

KLLM_INLINE struct weights load_bytes(const uint8_t *quants) {
    struct weights out;
    KLLM_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        KLLM_UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            out.w[g][h] = vreinterpretq_s8_u8(vld1q_u8(quants + g * KLLM_CHUNK + h * 16));
        }
    }
    return out;
}

KLLM_INLINE struct piece load_piece(const int8_t *q) {
    const int32_t *words = (const int32_t *)(const void *)q;
    return (struct piece){{vld4q_dup_s32(words), vld4q_dup_s32(words + 4)}};
}

KLLM_INLINE int8x16_t piece_of(const struct piece *p, uint32_t g) {
    return vreinterpretq_s8_s32(p->x[g / 4].val[g % 4]);
}

/// Exact sums of nibble * q. A lane adds 8 products: 8 * 15 * 127 = 15240; a pair 30480 < 2^15.
KLLM_INLINE struct sums sum_nibbles(const struct weights *w, const struct piece *p) {
    struct sums out;
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        int8x16_t x = piece_of(p, 0);
        int16x8_t low = vmull_s8(vget_low_s8(w->w[0][h]), vget_low_s8(x));
        int16x8_t high = vmull_high_s8(w->w[0][h], x);
        KLLM_UNROLL
        for (uint32_t g = 1; g < 8; g++) {
            x = piece_of(p, g);
            low = vmlal_s8(low, vget_low_s8(w->w[g][h]), vget_low_s8(x));
            high = vmlal_high_s8(high, w->w[g][h], x);
        }
        out.s[h] = vpaddlq_s16(vpaddq_s16(low, high));
    }
    return out;
}

/// Exact sums of byte * q. A lane adds 2 products, at most 2 * 128 * 127 = 32512 < 2^15, before
/// it is widened.
KLLM_INLINE struct sums sum_bytes(const struct weights *w, const struct piece *p) {
    struct sums out;
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        int32x4_t low = vdupq_n_s32(0);
        int32x4_t high = vdupq_n_s32(0);
        KLLM_UNROLL
        for (uint32_t g = 0; g < 8; g += 2) {
            int8x16_t x = piece_of(p, g);
            int8x16_t z = piece_of(p, g + 1);
            int16x8_t a = vmull_s8(vget_low_s8(w->w[g][h]), vget_low_s8(x));
            int16x8_t b = vmull_high_s8(w->w[g][h], x);
            a = vmlal_s8(a, vget_low_s8(w->w[g + 1][h]), vget_low_s8(z));
            b = vmlal_high_s8(b, w->w[g + 1][h], z);
            low = g == 0 ? vpaddlq_s16(a) : vpadalq_s16(low, a);
            high = g == 0 ? vpaddlq_s16(b) : vpadalq_s16(high, b);
        }
        out.s[h] = vpaddq_s32(low, high);
    }
    return out;
}

// A block of 8 rows within its group: walks from block to block.
struct cursor {
    const uint8_t *quants;
    const uint16_t *scale;
};

KLLM_INLINE uint64_t group_bytes_of(enum weight_format format, uint32_t cols) {
    return format == FORMAT_Q4_0   ? group_bytes_q4_0(cols)
           : format == FORMAT_Q4_1 ? group_bytes_q4_1(cols)
                                   : group_bytes_q8_0(cols);
}

// The first block of the 8 rows from row `row` on.
KLLM_INLINE struct cursor cursor_at(enum weight_format format, const void *w, uint32_t row,
                                    uint32_t cols) {
    uint32_t block_bytes = format == FORMAT_Q8_0 ? KLLM_Q8_BLOCK : KLLM_Q4_BLOCK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_of(format, cols);
    const uint8_t *scales = group + (uint64_t)(cols / KLLM_QK) * block_bytes;
    return (struct cursor){group + r * 4, (const uint16_t *)(const void *)scales + r};
}

KLLM_INLINE struct cursor next_block(enum weight_format format, struct cursor at) {
    at.quants += format == FORMAT_Q8_0 ? KLLM_Q8_BLOCK : KLLM_Q4_BLOCK;
    at.scale += format == FORMAT_Q4_1 ? 2 * KLLM_GROUP : KLLM_GROUP;
    return at;
}

// Unpacks a block of 8 rows and its scales: [0], [1] d, [2], [3] m of q4_1.
KLLM_INLINE struct weights load_block(enum weight_format format, struct cursor at,
                                      float32x4_t scale[4]) {
    load_scales(scale, at.scale);
    if (format == FORMAT_Q4_1) {
        load_scales(scale + 2, at.scale + KLLM_GROUP);
    }
    return format == FORMAT_Q8_0 ? load_bytes(at.quants) : load_nibbles(at.quants);
}

/// Exact sums of a block as it was loaded: nibbles of q4_0 are 8 too large. sum: of the token's block.
KLLM_INLINE struct sums sum_loaded(enum weight_format format, const struct weights *w,
                                   const struct piece *p, int32x4_t sum) {
    if (format == FORMAT_Q8_0) {
        return sum_bytes(w, p);
    }
    struct sums out = sum_nibbles(w, p);
    if (format == FORMAT_Q4_0) {
        out.s[0] = vmlsq_s32(out.s[0], sum, vdupq_n_s32(8));
        out.s[1] = vmlsq_s32(out.s[1], sum, vdupq_n_s32(8));
    }
    return out;
}

// acc += a block's sums for one token, in the order of kllm_matmul_fn.
KLLM_INLINE void accumulate(enum weight_format format, float32x4_t acc[2], struct sums s,
                            const float32x4_t scale[4], float32x4_t dx, int32x4_t sum) {
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        acc[h] = vfmaq_f32(acc[h], vcvtq_f32_s32(s.s[h]), vmulq_f32(scale[h], dx));
        if (format == FORMAT_Q4_1) {
            acc[h] = vfmaq_f32(acc[h], vcvtq_f32_s32(sum), vmulq_f32(scale[2 + h], dx));
        }
    }
}

/// Makes weights of the nibbles of q4_0, once for a tile of tokens.
KLLM_INLINE void remove_bias(struct weights *w) {
    KLLM_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        KLLM_UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            w->w[g][h] = vsubq_s8(w->w[g][h], vdupq_n_s8(8));
        }
    }
}

// Makes the compiler forget where weights came from. Else it keeps their low halves, which every
// SMULL reads for nothing, in registers of their own, and spills half of the block.
KLLM_INLINE void pin(struct weights *w) {
    KLLM_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        KLLM_UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            __asm__("" : "+w"(w->w[g][h]));
        }
    }
}

// Writes the n <= 8 rows of a tile that exist.
KLLM_INLINE void store_rows(float *y, const float32x4_t acc[2], uint32_t n) {
    if (n >= TILE_ROWS) {
        vst1q_f32(y, acc[0]);
        vst1q_f32(y + 4, acc[1]);
        return;
    }
    float part[TILE_ROWS];
    vst1q_f32(part, acc[0]);
    vst1q_f32(part + 4, acc[1]);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = part[i];
    }
}

// One token times the 16 rows of a group, of which n_row exist: its pieces serve both halves.
KLLM_INLINE void group_token(enum weight_format format, float *y, const void *group, const void *x,
                             uint32_t n_row, uint32_t cols) {
    struct q8_row act = q8_row_of(x, 0, cols);
    const float *end = act.d + cols / KLLM_QK;
    struct cursor at = cursor_at(format, group, 0, cols);
    float32x4_t zero = vdupq_n_f32(0.0f);
    float32x4_t acc[4] = {zero, zero, zero, zero};
    for (; act.d < end; act.q += KLLM_QK, act.d++, act.sum++, at = next_block(format, at)) {
        struct piece p = load_piece(act.q);
        float32x4_t dx = vld1q_dup_f32(act.d);
        int32x4_t sum = vld1q_dup_s32(act.sum);
        struct cursor second = {at.quants + TILE_ROWS * 4, at.scale + TILE_ROWS};
        float32x4_t scale[4];
        struct weights w = load_block(format, at, scale);
        accumulate(format, acc, sum_loaded(format, &w, &p, sum), scale, dx, sum);
        if (format != FORMAT_Q8_0) {
            // Ends the first half before the second: mixed, they need more registers than there
            // are, which costs a fifth more instructions.
            __asm__ volatile("" : "+w"(acc[0]), "+w"(acc[1])::"memory");
        }
        w = load_block(format, second, scale);
        accumulate(format, acc + 2, sum_loaded(format, &w, &p, sum), scale, dx, sum);
    }
    store_rows(y, acc, n_row);
    if (n_row > TILE_ROWS) {
        store_rows(y + TILE_ROWS, acc + 2, n_row - TILE_ROWS);
    }
}

// Up to TILE_TOKENS tokens times 8 rows, of which n_row exist.
KLLM_INLINE void tile_tokens(enum weight_format format, float *y, struct cursor at,
                             const uint8_t *x, uint32_t cols, uint32_t n_token, uint32_t n_row,
                             uint32_t y_stride) {
    float32x4_t acc[TILE_TOKENS][2];
    for (uint32_t t = 0; t < n_token; t++) {
        acc[t][0] = acc[t][1] = vdupq_n_f32(0.0f);
    }
    uint64_t stride = q8_bytes(cols);
    uint32_t sum_off = cols / 8; // from the scales of a token to its sums, bytes
    for (uint32_t b = 0; b < cols / KLLM_QK; b++, at = next_block(format, at)) {
        float32x4_t scale[4];
        struct weights w = load_block(format, at, scale);
        if (format == FORMAT_Q4_0) {
            remove_bias(&w);
        }
        const uint8_t *q = x + b * KLLM_QK;
        const uint8_t *d = x + cols + b * sizeof(float);
        for (uint32_t t = 0; t < n_token; t++, q += stride, d += stride) {
            pin(&w);
            struct piece p = load_piece((const int8_t *)q);
            struct sums s = format == FORMAT_Q8_0 ? sum_bytes(&w, &p) : sum_nibbles(&w, &p);
            accumulate(format, acc[t], s, scale, vld1q_dup_f32((const float *)(const void *)d),
                       vld1q_dup_s32((const int32_t *)(const void *)(d + sum_off)));
        }
    }
    for (uint32_t t = 0; t < n_token; t++) {
        store_rows(y + (uint64_t)t * y_stride, acc[t], n_row);
    }
}

/// kllm_matmul_fn for a quantised format.
KLLM_INLINE void matmul_neon(enum weight_format format, float *y, const void *w, const void *x,
                             uint32_t rows, uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    if (n_token == 1) {
        const uint8_t *group = w;
        for (uint32_t r = 0; r < rows; r += KLLM_GROUP, group += group_bytes_of(format, cols)) {
            group_token(format, y + r, group, x, rows - r, cols);
        }
        return;
    }
    for (uint32_t r = 0; r < rows; r += TILE_ROWS) {
        struct cursor at = cursor_at(format, w, r, cols);
        for (uint32_t t = 0; t < n_token; t += TILE_TOKENS) {
            const uint8_t *in = (const uint8_t *)x + t * q8_bytes(cols);
            tile_tokens(format, y + (uint64_t)t * y_stride + r, at, in, cols,
                        min_u32(TILE_TOKENS, n_token - t), rows - r, y_stride);
        }
    }
}

#endif
