// SPDX-License-Identifier: Apache-2.0
// Matrix of f32 or f16 rows times f32 vectors: tiles of 4 rows, which may lie apart.
#ifndef KLLM_MATMUL_FLOAT_TILE_AVX512_H
#define KLLM_MATMUL_FLOAT_TILE_AVX512_H

#include "avx512.h"

// 4 rows x 4 tokens are 16 chains of multiply-adds; one register holds the 16 lanes of an element.
enum { TILE_ROWS = 4, TILE_TOKENS = 4 };

// How far ahead weights are asked for, in the second cache: one token at the next page, which the CPU
// itself does not look into; several at the rows of the next tile, within bounds.
// One token asks for one line of four; the CPU follows its long runs and brings the others sooner
// than it could be asked to.
enum { AHEAD_BYTES = 4096, MOST_AHEAD_BYTES = 32 * 1024, ASKED_BYTES = 256 };

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

KLLM_INLINE __m512 load_16(const uint8_t *w, uint32_t weight_bytes) {
    return weight_bytes == 2
               ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)w))
               : _mm512_loadu_ps(w);
}

KLLM_INLINE __m512 load_16_masked(const uint8_t *w, __mmask16 valid, uint32_t weight_bytes) {
    return weight_bytes == 2 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(valid, w))
                             : _mm512_maskz_loadu_ps(valid, w);
}

// Sums of row r and the three that lie gap, 2 gap and 3 gap behind it for tokens [t, t + n_token);
// rows past the last repeat it.
KLLM_INLINE void sum_rows(__m512 acc[TILE_TOKENS][TILE_ROWS], const struct matrix *p, uint32_t r,
                          uint32_t t, uint32_t n_token, uint32_t weight_bytes) {
    const uint8_t *w[TILE_ROWS];
    uint64_t row_bytes = (uint64_t)p->cols * weight_bytes;
    const float *x = p->x + (uint64_t)t * p->cols;
    uint32_t n_whole = p->cols & ~15u;
    KLLM_UNROLL
    for (uint32_t i = 0; i < TILE_ROWS; i++) {
        w[i] = p->w + min_u32(r + i * p->gap, p->rows - 1) * row_bytes;
        KLLM_UNROLL
        for (uint32_t k = 0; k < n_token; k++) {
            acc[k][i] = _mm512_setzero_ps();
        }
    }
    for (uint32_t c = 0; c < n_whole; c += 16) {
        __m512 weights[TILE_ROWS];
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_ROWS; i++) {
            const uint8_t *at = w[i] + (uint64_t)c * weight_bytes;
            weights[i] = load_16(at, weight_bytes);
            if (t == 0 && (n_token > 1 || c * weight_bytes % ASKED_BYTES == 0)) {
                _mm_prefetch((const char *)at + p->ahead, _MM_HINT_T1);
            }
        }
        KLLM_UNROLL
        for (uint32_t k = 0; k < n_token; k++) {
            __m512 v = _mm512_loadu_ps(x + (uint64_t)k * p->cols + c);
            KLLM_UNROLL
            for (uint32_t i = 0; i < TILE_ROWS; i++) {
                acc[k][i] = _mm512_fmadd_ps(weights[i], v, acc[k][i]);
            }
        }
    }
    if (n_whole < p->cols) { // lanes without an element keep their bits
        __mmask16 valid = first_lanes(p->cols - n_whole);
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_ROWS; i++) {
            __m512 weights =
                load_16_masked(w[i] + (uint64_t)n_whole * weight_bytes, valid, weight_bytes);
            KLLM_UNROLL
            for (uint32_t k = 0; k < n_token; k++) {
                __m512 v = _mm512_maskz_loadu_ps(valid, x + (uint64_t)k * p->cols + n_whole);
                acc[k][i] = _mm512_mask3_fmadd_ps(weights, v, acc[k][i], valid);
            }
        }
    }
}

// Four runs of four rows, the first row of each gap behind that of the one before, times tokens
// [t, t + n_token). Only together are the trees of 16 lanes cheap.
KLLM_INLINE void multiply_tile(const struct matrix *p, uint32_t r, uint32_t t, uint32_t n_token,
                               uint32_t weight_bytes) {
    __m512 quads[TILE_TOKENS][TILE_ROWS];
    for (uint32_t g = 0; g < TILE_ROWS; g++) {
        __m512 acc[TILE_TOKENS][TILE_ROWS];
        sum_rows(acc, p, r + g, t, n_token, weight_bytes);
        KLLM_UNROLL
        for (uint32_t k = 0; k < n_token; k++) {
            quads[k][g] = join_rows(acc[k], JOIN_ADD);
        }
    }
    KLLM_UNROLL
    for (uint32_t k = 0; k < n_token; k++) {
        float results[TILE_ROWS][TILE_ROWS];
        _mm512_storeu_ps(results, join_quads(quads[k], JOIN_ADD));
        for (uint32_t i = 0; i < TILE_ROWS; i++) {
            uint32_t first = r + i * p->gap;
            float *y = p->y + (uint64_t)(t + k) * p->y_stride + first;
            if (first + TILE_ROWS <= p->rows) {
                _mm_storeu_ps(y, _mm_loadu_ps(results[i]));
            } else {
                for (uint32_t g = 0; first + g < p->rows; g++) {
                    y[g] = results[i][g];
                }
            }
        }
    }
}

#endif
