// SPDX-License-Identifier: Apache-2.0
// Packed matrices times "q8" rows with SMMLA, which multiplies two tokens by two rows over eight
// columns: twice the products of SDOT. Two chunks of the layout, zipped word by word, are its
// operand. That is done once for a tile of tokens; a few tokens do not pay for it and are left to
// SDOT.
#ifndef KLLM_MATMUL_NEON_I8MM_H
#define KLLM_MATMUL_NEON_I8MM_H

#if !defined(__ARM_FEATURE_MATMUL_INT8)
#error "compile this file with -march=armv8.2-a+dotprod+i8mm"
#endif

#include "matmul_neon_dotprod.h"

enum { PAIRED_AT_LEAST = 8 }; // for fewer tokens the preparation costs more than SMMLA saves

// A block of 8 rows: w[c][p] holds columns 8c .. 8c+7 of rows 2p and 2p+1; scales in the order of
// a product of two tokens by two rows: d[2p], d[2p+1], d[2p], d[2p+1].
struct row_pairs {
    int8x16_t w[4][4];
    float32x4_t scale[4];
    float32x4_t min[4]; // q4_1
};

/// Zips two chunks of four rows to eight columns of rows 0 and 1, and of rows 2 and 3.
KLLM_INLINE void zip_chunks(uint8x16_t out[2], const uint8_t *quants) {
    uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(quants));
    uint32x4_t second = vreinterpretq_u32_u8(vld1q_u8(quants + KLLM_CHUNK));
    out[0] = vreinterpretq_u8_u32(vzip1q_u32(first, second));
    out[1] = vreinterpretq_u8_u32(vzip2q_u32(first, second));
}

KLLM_INLINE void pair_scales(float32x4_t out[4], const uint16_t *scales) {
    float32x4_t d[2];
    load_scales(d, scales);
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        float64x2_t rows = vreinterpretq_f64_f32(d[h]);
        out[2 * h] = vreinterpretq_f32_f64(vdupq_laneq_f64(rows, 0));
        out[2 * h + 1] = vreinterpretq_f32_f64(vdupq_laneq_f64(rows, 1));
    }
}

/// Loads a block of 8 rows. Nibbles of q4_1 come as 0..15, those of q4_0 as 16 times the weight.
KLLM_INLINE struct row_pairs load_pairs(enum weight_format format, const uint8_t *quants,
                                        const uint16_t *scales) {
    struct row_pairs out;
    uint32_t n_chunk = (format == FORMAT_Q8_0 ? KLLM_Q8_BLOCK : KLLM_Q4_BLOCK) / KLLM_CHUNK;
    KLLM_UNROLL
    for (uint32_t i = 0; i < n_chunk; i++) { // chunks 2c and 2c+1 of row pairs p and p+1
        uint32_t c = i / 2, p = i % 2 * 2;
        uint8x16_t bytes[2];
        zip_chunks(bytes, quants + 2 * c * KLLM_CHUNK + p * 8);
        KLLM_UNROLL
        for (uint32_t k = 0; k < 2; k++) {
            if (format == FORMAT_Q8_0) {
                out.w[c][p + k] = vreinterpretq_s8_u8(bytes[k]);
            } else if (format == FORMAT_Q4_1) {
                out.w[c][p + k] = vreinterpretq_s8_u8(vandq_u8(bytes[k], vdupq_n_u8(15)));
                out.w[c + 2][p + k] = vreinterpretq_s8_u8(vshrq_n_u8(bytes[k], 4));
            } else {
                unpack_sixteenfold(&out.w[c][p + k], &out.w[c + 2][p + k], bytes[k]);
            }
        }
    }
    pair_scales(out.scale, scales);
    if (format == FORMAT_Q4_1) {
        pair_scales(out.min, scales + KLLM_GROUP);
    }
    return out;
}

/// Columns 8c .. 8c+7 of two tokens, for c = 0 .. 3.
KLLM_INLINE void load_tokens(int8x16_t x[4], const int8_t *first, const int8_t *second) {
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(first + 16 * h));
        int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(second + 16 * h));
        x[2 * h] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
        x[2 * h + 1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
}

// acc += a block's sums for two tokens, in the order of kllm_matmul_fn. d: of the first token's
// block; the second token lies a stride of bytes behind it.
KLLM_INLINE void accumulate_pair(enum weight_format format, float32x4_t acc[4],
                                 const struct row_pairs *w, const int8_t *q, const uint8_t *d,
                                 uint64_t stride, uint32_t sum_off) {
    int8x16_t x[4];
    load_tokens(x, q, q + stride);
    int32x4_t s[4];
    KLLM_UNROLL
    for (uint32_t p = 0; p < 4; p++) {
        s[p] = vdupq_n_s32(0);
        KLLM_UNROLL
        for (uint32_t c = 0; c < 4; c++) {
            s[p] = vmmlaq_s32(s[p], x[c], w->w[c][p]);
        }
    }
    const float *first = (const float *)(const void *)d;
    const float *second = (const float *)(const void *)(d + stride);
    float32x4_t dx = vcombine_f32(vld1_dup_f32(first), vld1_dup_f32(second));
    KLLM_UNROLL
    for (uint32_t p = 0; p < 4; p++) {
        float32x4_t total = sums_as_floats(format == FORMAT_Q4_0, s[p]);
        acc[p] = vfmaq_f32(acc[p], total, vmulq_f32(w->scale[p], dx));
    }
    if (format == FORMAT_Q4_1) {
        const int32_t *a = (const int32_t *)(const void *)(d + sum_off);
        const int32_t *b = (const int32_t *)(const void *)(d + stride + sum_off);
        float32x4_t total = vcvtq_f32_s32(vcombine_s32(vld1_dup_s32(a), vld1_dup_s32(b)));
        KLLM_UNROLL
        for (uint32_t p = 0; p < 4; p++) {
            acc[p] = vfmaq_f32(acc[p], total, vmulq_f32(w->min[p], dx));
        }
    }
}

// Writes the n rows of a tile that exist for two tokens.
KLLM_INLINE void store_pair(float *y, const float32x4_t acc[4], uint32_t n, uint32_t y_stride) {
    float64x2_t a[4];
    KLLM_UNROLL
    for (uint32_t p = 0; p < 4; p++) {
        a[p] = vreinterpretq_f64_f32(acc[p]);
    }
    const float32x4_t first[2] = {vreinterpretq_f32_f64(vzip1q_f64(a[0], a[1])),
                                  vreinterpretq_f32_f64(vzip1q_f64(a[2], a[3]))};
    const float32x4_t second[2] = {vreinterpretq_f32_f64(vzip2q_f64(a[0], a[1])),
                                   vreinterpretq_f32_f64(vzip2q_f64(a[2], a[3]))};
    store_rows(y, first, n);
    store_rows(y + y_stride, second, n);
}

// Up to TILE_TOKENS tokens, an even number, times 8 rows, of which n_row exist.
KLLM_INLINE void tile_pairs(enum weight_format format, float *y, const void *w, const uint8_t *x,
                            uint32_t row, uint32_t n_row, uint32_t cols, uint32_t n_token,
                            uint32_t y_stride) {
    float32x4_t acc[TILE_TOKENS / 2][4];
    for (uint32_t t = 0; t < n_token / 2; t++) {
        acc[t][0] = acc[t][1] = acc[t][2] = acc[t][3] = vdupq_n_f32(0.0f);
    }
    uint64_t stride = q8_bytes(cols);
    for (uint32_t b = 0; b < cols / KLLM_QK; b++) {
        struct block_at at = block_at(format, w, row, cols / KLLM_QK, b);
        struct row_pairs block = load_pairs(format, at.quants, at.scales);
        const uint8_t *q = x + b * KLLM_QK;
        const uint8_t *d = x + cols + b * sizeof(float);
        for (uint32_t t = 0; t < n_token / 2; t++, q += 2 * stride, d += 2 * stride) {
            accumulate_pair(format, acc[t], &block, (const int8_t *)q, d, stride, cols / 8);
        }
    }
    for (uint32_t t = 0; t < n_token / 2; t++) {
        store_pair(y + (uint64_t)(2 * t) * y_stride, acc[t], n_row, y_stride);
    }
}

/// kllm_matmul_fn for a quantised format; sdot does the tokens that are left over.
KLLM_INLINE void matmul_neon_i8mm(enum weight_format format, kllm_matmul_fn *sdot, float *y,
                                  const void *w, const void *x, uint32_t rows, uint32_t cols,
                                  uint32_t n_token, uint32_t y_stride) {
    uint32_t n_over = n_token % TILE_TOKENS;
    uint32_t n_paired = n_token - (n_over < PAIRED_AT_LEAST ? n_over : n_over % 2);
    for (uint32_t r = 0; r < rows && n_paired != 0; r += TILE_ROWS) {
        for (uint32_t t = 0; t < n_paired; t += TILE_TOKENS) {
            const uint8_t *in = (const uint8_t *)x + t * q8_bytes(cols);
            tile_pairs(format, y + (uint64_t)t * y_stride + r, w, in, r, rows - r, cols,
                       min_u32(TILE_TOKENS, n_paired - t), y_stride);
        }
    }
    if (n_paired < n_token) {
        const uint8_t *in = (const uint8_t *)x + n_paired * q8_bytes(cols);
        sdot(y + (uint64_t)n_paired * y_stride, w, in, rows, cols, n_token - n_paired, y_stride);
    }
}

#endif
