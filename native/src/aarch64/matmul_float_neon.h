// SPDX-License-Identifier: Apache-2.0
// Matrices of f32 and f16 rows: tiles of 2 rows x 2 tokens share every load.
#ifndef KLLM_MATMUL_FLOAT_NEON_H
#define KLLM_MATMUL_FLOAT_NEON_H

#include "neon.h"

enum float_tile { FLOAT_TILE = 2 };

KLLM_INLINE struct lanes load_row(int is_f16, const void *row, uint32_t i) {
    return is_f16 ? lanes_load_f16((const uint16_t *)row + i) : lanes_load((const float *)row + i);
}

KLLM_INLINE float load_one(int is_f16, const void *row, uint32_t i) {
    return is_f16 ? f32_of_f16_neon((const uint16_t *)row + i) : ((const float *)row)[i];
}

KLLM_INLINE float finish_dot(int is_f16, struct lanes acc, const void *row, const float *x,
                             uint32_t i, uint32_t n) {
    if (i < n) {
        float tail[16];
        for (uint32_t j = 0; i + j < n; j++) {
            tail[j] = load_one(is_f16, row, i + j);
        }
        acc = lanes_fma_tail(acc, tail, x + i, n - i);
    }
    return lanes_tree(acc);
}

// n_row rows from w times n_token vectors from x, both at most FLOAT_TILE and constant.
KLLM_INLINE void float_tile(int is_f16, float *y, const uint8_t *w, const float *x, uint32_t cols,
                            uint32_t y_stride, uint32_t n_row, uint32_t n_token) {
    uint64_t row_bytes = (uint64_t)cols * (is_f16 ? 2 : 4);
    struct lanes acc[FLOAT_TILE][FLOAT_TILE];
    KLLM_UNROLL
    for (uint32_t k = 0; k < FLOAT_TILE * FLOAT_TILE; k++) {
        acc[k / FLOAT_TILE][k % FLOAT_TILE] = lanes_zero();
    }
    uint32_t i = 0;
    for (; i + 16 <= cols; i += 16) {
        struct lanes row[FLOAT_TILE];
        KLLM_UNROLL
        for (uint32_t r = 0; r < n_row; r++) {
            row[r] = load_row(is_f16, w + r * row_bytes, i);
        }
        KLLM_UNROLL
        for (uint32_t t = 0; t < n_token; t++) {
            struct lanes a = lanes_load(x + (uint64_t)t * cols + i);
            KLLM_UNROLL
            for (uint32_t r = 0; r < n_row; r++) {
                acc[t][r] = lanes_fma(acc[t][r], row[r], a);
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t t = 0; t < n_token; t++) {
        KLLM_UNROLL
        for (uint32_t r = 0; r < n_row; r++) {
            y[(uint64_t)t * y_stride + r] =
                finish_dot(is_f16, acc[t][r], w + r * row_bytes, x + (uint64_t)t * cols, i, cols);
        }
    }
}

/// kllm_matmul_fn for f32 (is_f16 0) or f16 (is_f16 1) weights.
KLLM_INLINE void matmul_float_neon(int is_f16, float *y, const void *w, const void *x,
                                   uint32_t rows, uint32_t cols, uint32_t n_token,
                                   uint32_t y_stride) {
    uint64_t row_bytes = (uint64_t)cols * (is_f16 ? 2 : 4);
    const float *xs = x;
    for (uint32_t r = 0; r < rows; r += FLOAT_TILE) {
        const uint8_t *row = (const uint8_t *)w + r * row_bytes;
        uint32_t n_row = min_u32(FLOAT_TILE, rows - r);
        for (uint32_t t = 0; t < n_token; t += FLOAT_TILE) {
            float *out = y + (uint64_t)t * y_stride + r;
            const float *in = xs + (uint64_t)t * cols;
            uint32_t n = min_u32(FLOAT_TILE, n_token - t);
            if (n_row == FLOAT_TILE && n == FLOAT_TILE) {
                float_tile(is_f16, out, row, in, cols, y_stride, FLOAT_TILE, FLOAT_TILE);
            } else if (n_row == FLOAT_TILE) {
                float_tile(is_f16, out, row, in, cols, y_stride, FLOAT_TILE, 1);
            } else {
                for (uint32_t i = 0; i < n; i++) {
                    float_tile(is_f16, out + (uint64_t)i * y_stride, row, in + (uint64_t)i * cols,
                               cols, y_stride, 1, 1);
                }
            }
        }
    }
}

#endif
