// SPDX-License-Identifier: Apache-2.0
// Matrix of f32 or f16 rows times f32 vectors: the body that both weight types share.
#ifndef KLLM_MATMUL_FLOAT_AVX2_H
#define KLLM_MATMUL_FLOAT_AVX2_H

#include "../f16.h"
#include "matmul_short_avx2.h"

// 4 rows x 3 tokens x 8 lanes are 12 accumulators of 16 registers: several tokens take the columns
// of the lower 8 lanes of all sums, then those of the upper. One token, which is bound by reading,
// takes both at once.
enum { TILE_ROWS = 4, TILE_TOKENS = 3 };

// How far ahead several tokens ask for weights, in the second cache: some rows, within bounds. One
// token asks for nothing: the CPU follows its long runs by itself, and faster.
enum { AHEAD_ROWS = 16, LEAST_AHEAD_BYTES = 4096, MOST_AHEAD_BYTES = 32 * 1024 };

// Where a tile reads: its rows, tokens that lie cols floats apart.
struct source {
    const uint8_t *w[TILE_ROWS];
    const float *x;
    uint32_t cols;
    uint32_t ahead; // bytes from what is read to what is asked for
};

// Adds the products of columns [c, c + 8) to 8 lanes of each sum.
KLLM_INLINE void add_products(__m256 acc[TILE_TOKENS][TILE_ROWS], const struct source *p,
                              uint32_t c, uint32_t n_token, uint32_t weight_bytes) {
    __m256 x[TILE_TOKENS];
    KLLM_UNROLL
    for (uint32_t k = 0; k < n_token; k++) {
        x[k] = _mm256_loadu_ps(p->x + (uint64_t)k * p->cols + c);
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < TILE_ROWS; i++) {
        __m256 weights = load_8(p->w[i] + (uint64_t)c * weight_bytes, weight_bytes);
        KLLM_UNROLL
        for (uint32_t k = 0; k < n_token; k++) {
            acc[k][i] = _mm256_fmadd_ps(weights, x[k], acc[k][i]);
        }
    }
}

KLLM_INLINE void ask_ahead(const struct source *p, uint32_t c, uint32_t weight_bytes) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < TILE_ROWS; i++) {
        _mm_prefetch((const char *)p->w[i] + (uint64_t)c * weight_bytes + p->ahead, _MM_HINT_T1);
    }
}

// Adds the products of the last columns, fewer than 16, to the lanes of a row and a token.
KLLM_INLINE void add_tail(__m256 *low, __m256 *high, const uint8_t *w, const float *x,
                          uint32_t cols, uint32_t weight_bytes) {
    float lane[16];
    _mm256_storeu_ps(lane, *low);
    _mm256_storeu_ps(lane + 8, *high);
    for (uint32_t i = cols & ~15u; i < cols; i++) {
        float weight = weight_bytes == 2 ? f32_of_f16(((const uint16_t *)(const void *)w)[i])
                                         : ((const float *)(const void *)w)[i];
        lane[i % 16] = fma_f32(weight, x[i], lane[i % 16]);
    }
    *low = _mm256_loadu_ps(lane);
    *high = _mm256_loadu_ps(lane + 8);
}

// The trees of 4 rows, of which 8 lanes are left.
KLLM_INLINE __m128 trees_of_4(const __m256 lanes[TILE_ROWS]) {
    __m256 even = _mm256_add_ps(_mm256_permute2f128_ps(lanes[0], lanes[2], 0x20),
                                _mm256_permute2f128_ps(lanes[0], lanes[2], 0x31));
    __m256 odd = _mm256_add_ps(_mm256_permute2f128_ps(lanes[1], lanes[3], 0x20),
                               _mm256_permute2f128_ps(lanes[1], lanes[3], 0x31));
    __m256 pairs = _mm256_add_ps(_mm256_shuffle_ps(even, odd, 0x44), // rows 0, 1 and 2, 3
                                 _mm256_shuffle_ps(even, odd, 0xee));
    __m128 low = _mm256_castps256_ps128(pairs);
    __m128 high = _mm256_extractf128_ps(pairs, 1);
    return _mm_add_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xdd));
}

// Row r and the three that lie gap, 2 gap and 3 gap behind it, times tokens [t, t + n_token); rows
// past the last repeat it.
KLLM_INLINE void multiply_tile(const struct matrix *p, uint32_t r, uint32_t gap, uint32_t t,
                               uint32_t n_token, uint32_t weight_bytes) {
    uint64_t row_bytes = (uint64_t)p->cols * weight_bytes;
    uint32_t ahead = max_u32(LEAST_AHEAD_BYTES, AHEAD_ROWS * p->cols * weight_bytes);
    struct source source = {.x = p->x + (uint64_t)t * p->cols,
                            .cols = p->cols,
                            .ahead = min_u32(MOST_AHEAD_BYTES, ahead)};
    __m256 low[TILE_TOKENS][TILE_ROWS];
    __m256 high[TILE_TOKENS][TILE_ROWS];
    KLLM_UNROLL
    for (uint32_t i = 0; i < TILE_ROWS; i++) {
        source.w[i] = p->w + min_u32(r + i * gap, p->rows - 1) * row_bytes;
        KLLM_UNROLL
        for (uint32_t k = 0; k < n_token; k++) {
            low[k][i] = high[k][i] = _mm256_setzero_ps();
        }
    }
    uint32_t n_whole = p->cols & ~15u;
    for (uint32_t c = 0; c < n_whole; c += 16) {
        if (n_token > 1 && t == 0 && c * weight_bytes % 64 == 0) {
            ask_ahead(&source, c, weight_bytes);
        }
        add_products(low, &source, c, n_token, weight_bytes);
        if (n_token == 1) {
            add_products(high, &source, c + 8, n_token, weight_bytes);
        }
    }
    for (uint32_t c = 8; n_token > 1 && c < n_whole; c += 16) {
        add_products(high, &source, c, n_token, weight_bytes);
    }
    KLLM_UNROLL
    for (uint32_t k = 0; k < n_token; k++) {
        __m256 lanes[TILE_ROWS];
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_ROWS; i++) {
            if (n_whole < p->cols) {
                add_tail(&low[k][i], &high[k][i], source.w[i], source.x + (uint64_t)k * p->cols,
                         p->cols, weight_bytes);
            }
            lanes[i] = _mm256_add_ps(low[k][i], high[k][i]);
        }
        float *y = p->y + (uint64_t)(t + k) * p->y_stride + r;
        if (gap == 1 && r + TILE_ROWS <= p->rows) {
            _mm_storeu_ps(y, trees_of_4(lanes));
            continue;
        }
        float results[TILE_ROWS];
        _mm_storeu_ps(results, trees_of_4(lanes));
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_ROWS; i++) {
            if (r + i * gap < p->rows) {
                y[(uint64_t)i * gap] = results[i];
            }
        }
    }
}

// One token: memory is the limit, and it gives most to four streams that lie far apart.
KLLM_INLINE void multiply_one(const struct matrix *p, uint32_t weight_bytes) {
    uint32_t gap = (p->rows + TILE_ROWS - 1) / TILE_ROWS;
    for (uint32_t r = 0; r < gap; r++) {
        multiply_tile(p, r, gap, 0, 1, weight_bytes);
    }
}

KLLM_INLINE void multiply_many(const struct matrix *p, uint32_t n_token, uint32_t weight_bytes) {
    for (uint32_t r = 0; r < p->rows; r += TILE_ROWS) {
        uint32_t t = 0;
        for (; t + TILE_TOKENS <= n_token; t += TILE_TOKENS) {
            multiply_tile(p, r, 1, t, TILE_TOKENS, weight_bytes);
        }
        if (n_token - t == 2) {
            multiply_tile(p, r, 1, t, 2, weight_bytes);
        } else if (n_token - t == 1) {
            multiply_tile(p, r, 1, t, 1, weight_bytes);
        }
    }
}

KLLM_INLINE void multiply_float(float *y, const void *w, const void *x, uint32_t rows,
                                uint32_t cols, uint32_t n_token, uint32_t y_stride,
                                uint32_t weight_bytes) {
    const struct matrix p = {y, w, x, rows, cols, y_stride};
    if (n_token == 1) {
        multiply_one(&p, weight_bytes);
    } else if (n_token >= SHORT_TOKENS && cols <= SHORT_COLS && cols % 16 == 0) {
        multiply_short(&p, n_token, weight_bytes);
    } else {
        multiply_many(&p, n_token, weight_bytes);
    }
}

#endif
