// SPDX-License-Identifier: Apache-2.0
// Packed matrices times "q8" rows with SDOT: the 4-byte chunks of the layout are its operands, a
// token's 4-column piece is the lane of the second one, and nothing has to be copied or widened.
#ifndef KLLM_MATMUL_NEON_DOTPROD_H
#define KLLM_MATMUL_NEON_DOTPROD_H

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with -march=armv8.2-a+dotprod"
#endif

#include "neon.h"

enum weight_format { FORMAT_Q4_0, FORMAT_Q4_1, FORMAT_Q8_0 };
enum tile_shape { TILE_ROWS = 8, TILE_TOKENS = 16 };

// A block of 8 rows: w[g][h] holds columns 4g .. 4g+3 of rows 4h .. 4h+3; and its scales.
struct weights {
    int8x16_t w[8][2];
    float32x4_t scale[2];
    float32x4_t min[2]; // q4_1
};

// Sums over a block for 8 rows.
struct sums {
    int32x4_t s[2];
};

// A block of a token.
struct block {
    const int8_t *q;
    const float *d;
    const int32_t *sum;
};

// Where a block of 8 rows lies.
struct block_at {
    const uint8_t *quants;
    const uint16_t *scales;
};

/// Finds block b of the 8 rows from row on.
KLLM_INLINE struct block_at block_at(enum weight_format format, const void *w, uint32_t row,
                                     uint32_t n_block, uint32_t b) {
    uint32_t block_bytes = format == FORMAT_Q8_0 ? KLLM_Q8_BLOCK : KLLM_Q4_BLOCK;
    uint32_t n_scale = format == FORMAT_Q4_1 ? 2 * KLLM_GROUP : KLLM_GROUP;
    uint64_t group_bytes =
        align_up((uint64_t)n_block * (block_bytes + n_scale * sizeof(uint16_t)), KLLM_ALIGN);
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes;
    const uint16_t *scales = (const uint16_t *)(const void *)(group + n_block * block_bytes);
    return (struct block_at){group + b * block_bytes + row % KLLM_GROUP * 4,
                             scales + b * n_scale + row % KLLM_GROUP};
}

/// Unpacks nibbles of q4_0 to 16 times their weights: with its upper bit flipped, a nibble in the
/// upper half of a byte is that as it stands.
KLLM_INLINE void unpack_sixteenfold(int8x16_t *low, int8x16_t *high, uint8x16_t bytes) {
    uint8x16_t flipped = veorq_u8(bytes, vdupq_n_u8(0x88));
    *low = vreinterpretq_s8_u8(vshlq_n_u8(flipped, 4));
    *high = vreinterpretq_s8_u8(vandq_u8(flipped, vdupq_n_u8(0xf0)));
}

/// Loads a block of 8 rows; nibbles come as 0..15, or for several tokens of q4_0 as above.
KLLM_INLINE struct weights load_block(enum weight_format format, uint32_t is_sixteenfold,
                                      struct block_at at) {
    uint32_t block_bytes = format == FORMAT_Q8_0 ? KLLM_Q8_BLOCK : KLLM_Q4_BLOCK;
    struct weights out;
    KLLM_UNROLL
    for (uint32_t j = 0; j < block_bytes / KLLM_CHUNK; j++) {
        KLLM_UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            uint8x16_t bytes = vld1q_u8(at.quants + j * KLLM_CHUNK + h * 16);
            if (format == FORMAT_Q8_0) {
                out.w[j][h] = vreinterpretq_s8_u8(bytes);
            } else if (is_sixteenfold) {
                unpack_sixteenfold(&out.w[j][h], &out.w[j + 4][h], bytes);
            } else {
                out.w[j][h] = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
                out.w[j + 4][h] = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
            }
        }
    }
    load_scales(out.scale, at.scales);
    if (format == FORMAT_Q4_1) {
        load_scales(out.min, at.scales + KLLM_GROUP);
    }
    return out;
}

/// Adds the exact sums of 16 columns times q, pieces first .. first+3, to s.
KLLM_INLINE void add_dots(int32x4_t s[2], const struct weights *w, uint32_t first, int8x16_t q) {
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        s[h] = vdotq_laneq_s32(s[h], w->w[first][h], q, 0);
        s[h] = vdotq_laneq_s32(s[h], w->w[first + 1][h], q, 1);
        s[h] = vdotq_laneq_s32(s[h], w->w[first + 2][h], q, 2);
        s[h] = vdotq_laneq_s32(s[h], w->w[first + 3][h], q, 3);
    }
}

/// Exact sums of a block for one token, each beyond a start.
KLLM_INLINE struct sums sum_block(const struct weights *w, const int8_t *q, int32x4_t start) {
    struct sums out = {{start, start}};
    add_dots(out.s, w, 0, vld1q_s8(q));
    add_dots(out.s, w, 4, vld1q_s8(q + 16));
    return out;
}

/// Sums of sixteenfold weights, at most 16 * 32 * 8 * 127 < 2^24, or of others: exact as floats.
KLLM_INLINE float32x4_t sums_as_floats(uint32_t is_sixteenfold, int32x4_t s) {
    return is_sixteenfold ? vcvtq_n_f32_s32(s, 4) : vcvtq_f32_s32(s);
}

// acc += a block's sums for one token, in the order of kllm_matmul_fn.
KLLM_INLINE void accumulate(enum weight_format format, uint32_t is_sixteenfold, float32x4_t acc[2],
                            struct sums sums, const struct weights *w, struct block x) {
    float32x4_t dx = vld1q_dup_f32(x.d);
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        float32x4_t total = sums_as_floats(is_sixteenfold, sums.s[h]);
        acc[h] = vfmaq_f32(acc[h], total, vmulq_f32(w->scale[h], dx));
        if (format == FORMAT_Q4_1) {
            float32x4_t sum = vcvtq_f32_s32(vld1q_dup_s32(x.sum));
            acc[h] = vfmaq_f32(acc[h], sum, vmulq_f32(w->min[h], dx));
        }
    }
}

// Writes the n rows of a tile that exist.
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

KLLM_INLINE struct block block_of(struct q8_row x, uint32_t b) {
    return (struct block){x.q + b * KLLM_QK, x.d + b, x.sum + b};
}

KLLM_INLINE void tile_token(enum weight_format format, float *y, const void *w, const uint8_t *x,
                            uint32_t row, uint32_t n_row, uint32_t cols) {
    float32x4_t acc[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
    struct q8_row act = q8_row_of(x, 0, cols);
    for (uint32_t b = 0; b < cols / KLLM_QK; b++) {
        struct weights block = load_block(format, 0, block_at(format, w, row, cols / KLLM_QK, b));
        struct block at = block_of(act, b);
        // A nibble of q4_0 is its weight plus 8.
        int32x4_t start = format == FORMAT_Q4_0 ? vmulq_s32(vld1q_dup_s32(at.sum), vdupq_n_s32(-8))
                                                : vdupq_n_s32(0);
        accumulate(format, 0, acc, sum_block(&block, at.q, start), &block, at);
    }
    store_rows(y, acc, n_row);
}

KLLM_INLINE void tile_tokens(enum weight_format format, float *y, const void *w, const uint8_t *x,
                             uint32_t row, uint32_t n_row, uint32_t cols, uint32_t n_token,
                             uint32_t y_stride) {
    float32x4_t acc[TILE_TOKENS][2];
    for (uint32_t t = 0; t < n_token; t++) {
        acc[t][0] = acc[t][1] = vdupq_n_f32(0.0f);
    }
    const uint32_t is_sixteenfold = format == FORMAT_Q4_0;
    for (uint32_t b = 0; b < cols / KLLM_QK; b++) {
        struct weights block =
            load_block(format, is_sixteenfold, block_at(format, w, row, cols / KLLM_QK, b));
        for (uint32_t t = 0; t < n_token; t++) {
            struct block at = block_of(q8_row_of(x, t, cols), b);
            struct sums sums = sum_block(&block, at.q, vdupq_n_s32(0));
            accumulate(format, is_sixteenfold, acc[t], sums, &block, at);
        }
    }
    for (uint32_t t = 0; t < n_token; t++) {
        store_rows(y + (uint64_t)t * y_stride, acc[t], n_row);
    }
}

/// kllm_matmul_fn for a quantised format.
KLLM_INLINE void matmul_neon_dotprod(enum weight_format format, float *y, const void *w,
                                     const void *x, uint32_t rows, uint32_t cols, uint32_t n_token,
                                     uint32_t y_stride) {
    for (uint32_t r = 0; r < rows; r += TILE_ROWS) {
        for (uint32_t t = 0; t < n_token; t += TILE_TOKENS) {
            uint32_t n = min_u32(TILE_TOKENS, n_token - t);
            float *out = y + (uint64_t)t * y_stride + r;
            const uint8_t *in = (const uint8_t *)x + t * q8_bytes(cols);
            if (n == 1) {
                tile_token(format, out, w, in, r, rows - r, cols);
            } else {
                tile_tokens(format, out, w, in, r, rows - r, cols, n, y_stride);
            }
        }
    }
}

#endif
