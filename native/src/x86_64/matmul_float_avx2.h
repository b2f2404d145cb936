// SPDX-License-Identifier: Apache-2.0
// Matrix of f32 or f16 rows times f32 vectors: the body that both weight types share.
#ifndef KLLM_MATMUL_FLOAT_AVX2_H
#define KLLM_MATMUL_FLOAT_AVX2_H

#include "../f16.h"
#include "avx2.h"

// 2 rows x 3 tokens are 12 accumulators of 16 registers; one token takes 4 rows at a time.
enum { TILE_ROWS = 2, TILE_TOKENS = 3, STREAM_ROWS = 4 };

// How far ahead weights are asked for, in the second cache: one token at the next page, which the CPU
// itself does not look into; several at some rows, within bounds.
// One token asks for one line of four; the CPU follows its long runs and brings the others sooner
// than it could be asked to.
enum { AHEAD_BYTES = 4096, MOST_AHEAD_BYTES = 32 * 1024, AHEAD_ROWS = 16, ASKED_BYTES = 256 };

struct matrix {
    float *y;
    const uint8_t *w;
    const float *x;
    uint32_t rows;
    uint32_t cols;
    uint32_t y_stride;
    uint32_t gap;   // between the rows of a tile
    uint32_t ahead; // bytes from what is read to what is asked for
};

KLLM_INLINE __m256 load_8(const uint8_t *w, uint32_t weight_bytes) {
    return weight_bytes == 2 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w))
                             : _mm256_loadu_ps((const float *)(const void *)w);
}

// Adds the products of elements [first, n), fewer than 16, to the lanes.
KLLM_INLINE void add_tail(struct lanes16 *lanes, const uint8_t *w, const float *x, uint32_t first,
                          uint32_t n, uint32_t weight_bytes) {
    float lane[16];
    _mm256_storeu_ps(lane, lanes->low);
    _mm256_storeu_ps(lane + 8, lanes->high);
    for (uint32_t i = first; i < n; i++) {
        float weight = weight_bytes == 2 ? f32_of_f16(((const uint16_t *)(const void *)w)[i])
                                         : ((const float *)(const void *)w)[i];
        lane[i - first] = fma_f32(weight, x[i], lane[i - first]);
    }
    lanes->low = _mm256_loadu_ps(lane);
    lanes->high = _mm256_loadu_ps(lane + 8);
}

// The first two steps of tree_f32: 4 lanes are left.
KLLM_INLINE __m128 tree_to_4(struct lanes16 lanes) {
    __m256 a = _mm256_add_ps(lanes.low, lanes.high);
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}

// Trees of two rows: the results stand in lanes 0, 1 and again in 2, 3.
KLLM_INLINE __m128 tree_of_2(struct lanes16 l0, struct lanes16 l1) {
    __m128 a = tree_to_4(l0);
    __m128 b = tree_to_4(l1);
    __m128 c = _mm_add_ps(_mm_shuffle_ps(a, b, 0x44), _mm_shuffle_ps(a, b, 0xee));
    return _mm_add_ps(_mm_shuffle_ps(c, c, 0x88), _mm_shuffle_ps(c, c, 0xdd));
}

// Rows [r, r + n_row) times tokens [t, t + n_token); rows past the last repeat it.
KLLM_INLINE void multiply_tile(const struct matrix *p, uint32_t r, uint32_t t, uint32_t n_row,
                               uint32_t n_token, uint32_t weight_bytes) {
    struct lanes16 acc[TILE_TOKENS][STREAM_ROWS];
    const uint8_t *w[STREAM_ROWS];
    uint64_t row_bytes = (uint64_t)p->cols * weight_bytes;
    const float *x = p->x + (uint64_t)t * p->cols;
    uint32_t n_whole = p->cols & ~15u;
    uint32_t asked_bytes = n_token == 1 ? ASKED_BYTES : 64;
    KLLM_UNROLL
    for (uint32_t i = 0; i < n_row; i++) {
        w[i] = p->w + min_u32(r + i * p->gap, p->rows - 1) * row_bytes;
        KLLM_UNROLL
        for (uint32_t k = 0; k < n_token; k++) {
            acc[k][i] = zero_lanes();
        }
    }
    for (uint32_t c = 0; c < n_whole; c += 16) {
        KLLM_UNROLL
        for (uint32_t half = 0; half < 2; half++) {
            uint32_t at = c + 8 * half;
            __m256 weights[STREAM_ROWS];
            KLLM_UNROLL
            for (uint32_t i = 0; i < n_row; i++) {
                weights[i] = load_8(w[i] + (uint64_t)at * weight_bytes, weight_bytes);
                if (t == 0 && half == 0 && c * weight_bytes % asked_bytes == 0) {
                    _mm_prefetch((const char *)w[i] + (uint64_t)at * weight_bytes + p->ahead,
                                 _MM_HINT_T1);
                }
            }
            KLLM_UNROLL
            for (uint32_t k = 0; k < n_token; k++) {
                __m256 v = _mm256_loadu_ps(x + (uint64_t)k * p->cols + at);
                KLLM_UNROLL
                for (uint32_t i = 0; i < n_row; i++) {
                    if (half == 0) {
                        acc[k][i].low = _mm256_fmadd_ps(weights[i], v, acc[k][i].low);
                    } else {
                        acc[k][i].high = _mm256_fmadd_ps(weights[i], v, acc[k][i].high);
                    }
                }
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t k = 0; k < n_token; k++) {
        float *y = p->y + (uint64_t)(t + k) * p->y_stride + r;
        KLLM_UNROLL
        for (uint32_t i = 0; i < n_row; i += 2) {
            if (n_whole < p->cols) {
                const float *v = x + (uint64_t)k * p->cols;
                add_tail(&acc[k][i], w[i], v, n_whole, p->cols, weight_bytes);
                add_tail(&acc[k][i + 1], w[i + 1], v, n_whole, p->cols, weight_bytes);
            }
            __m128 pair = tree_of_2(acc[k][i], acc[k][i + 1]);
            if (r + i * p->gap < p->rows) {
                _mm_store_ss(y + i * p->gap, pair);
            }
            if (r + (i + 1) * p->gap < p->rows) {
                _mm_store_ss(y + (i + 1) * p->gap, _mm_movehdup_ps(pair));
            }
        }
    }
}

KLLM_INLINE void multiply_float(float *y, const void *w, const void *x, uint32_t rows,
                                uint32_t cols, uint32_t n_token, uint32_t y_stride,
                                uint32_t weight_bytes) {
    uint32_t ahead = min_u32(MOST_AHEAD_BYTES, AHEAD_ROWS * cols * weight_bytes);
    ahead = n_token == 1 ? AHEAD_BYTES : max_u32(AHEAD_BYTES, ahead);
    struct matrix p = {y, w, x, rows, cols, y_stride, 1, ahead};
    if (n_token == 1) { // memory is the limit, and it gives most to streams that lie far apart
        p.gap = (rows + STREAM_ROWS - 1) / STREAM_ROWS;
        for (uint32_t r = 0; r < p.gap; r++) {
            multiply_tile(&p, r, 0, STREAM_ROWS, 1, weight_bytes);
        }
        return;
    }
    for (uint32_t r = 0; r < rows; r += TILE_ROWS) {
        uint32_t t = 0;
        for (; t + TILE_TOKENS <= n_token; t += TILE_TOKENS) {
            multiply_tile(&p, r, t, TILE_ROWS, TILE_TOKENS, weight_bytes);
        }
        if (n_token - t == 2) {
            multiply_tile(&p, r, t, TILE_ROWS, 2, weight_bytes);
        } else if (n_token - t == 1) {
            multiply_tile(&p, r, t, TILE_ROWS, 1, weight_bytes);
        }
    }
}

#endif
