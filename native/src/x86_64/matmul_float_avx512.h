// SPDX-License-Identifier: Apache-2.0
// Matrix of f32 or f16 rows times f32 vectors: the body that both weight types share.
#ifndef KLLM_MATMUL_FLOAT_AVX512_H
#define KLLM_MATMUL_FLOAT_AVX512_H

#include "matmul_short_avx512.h"

// One token: memory is the limit, and it gives most to four streams that lie far apart.
KLLM_INLINE void multiply_one(struct matrix p, uint32_t weight_bytes) {
    p.gap = (uint32_t)align_up((p.rows + TILE_ROWS - 1) / TILE_ROWS, TILE_ROWS);
    for (uint32_t r = 0; r < p.gap; r += TILE_ROWS) {
        multiply_tile(&p, r, 0, 1, weight_bytes);
    }
}

KLLM_INLINE void multiply_many(const struct matrix *p, uint32_t n_token, uint32_t weight_bytes) {
    for (uint32_t r = 0; r < p->rows; r += TILE_ROWS * TILE_ROWS) {
        uint32_t t = 0;
        for (; t + TILE_TOKENS <= n_token; t += TILE_TOKENS) {
            multiply_tile(p, r, t, TILE_TOKENS, weight_bytes);
        }
        switch (n_token - t) {
        case 1:
            multiply_tile(p, r, t, 1, weight_bytes);
            break;
        case 2:
            multiply_tile(p, r, t, 2, weight_bytes);
            break;
        case 3:
            multiply_tile(p, r, t, 3, weight_bytes);
            break;
        default:
            break;
        }
    }
}

KLLM_INLINE void multiply_float(float *y, const void *w, const void *x, uint32_t rows,
                                uint32_t cols, uint32_t n_token, uint32_t y_stride,
                                uint32_t weight_bytes) {
    uint32_t ahead = min_u32(MOST_AHEAD_BYTES, TILE_ROWS * TILE_ROWS * cols * weight_bytes);
    ahead = n_token == 1 ? AHEAD_BYTES : max_u32(AHEAD_BYTES, ahead);
    const struct matrix p = {y, w, x, rows, cols, y_stride, TILE_ROWS, ahead};
    if (n_token == 1) {
        multiply_one(p, weight_bytes);
    } else if (n_token >= SHORT_TOKENS && cols <= SHORT_COLS && cols % 16 == 0) {
        multiply_short(&p, n_token, weight_bytes);
    } else {
        multiply_many(&p, n_token, weight_bytes);
    }
}

#endif
