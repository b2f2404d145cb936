// SPDX-License-Identifier: Apache-2.0
// Matrix of f32 or f16 rows times f32 vectors: a tile of 4 rows, which may lie apart.
#ifndef KLLM_MATMUL_FLOAT_TILE_AVX512_H
#define KLLM_MATMUL_FLOAT_TILE_AVX512_H

#include <immintrin.h>

#include "../kernels.h"

// 4 rows x 4 tokens are 16 chains of multiply-adds; one register holds the 16 lanes of an element.
enum { TILE_ROWS = 4, TILE_TOKENS = 4 };

// How far ahead one token's streams ask for weights, in the second cache: the next page, which the
// CPU itself does not look into.
enum { AHEAD_BYTES = 4096 };

struct matrix {
    float *y;
    const uint8_t *w;
    const float *x;
    uint32_t rows;
    uint32_t cols;
    uint32_t y_stride;
    uint32_t gap; // between the rows of a tile
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

// The first two steps of tree_f32: 4 lanes are left.
KLLM_INLINE __m128 tree_to_4(__m512 lanes) {
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}

// Trees of four rows.
KLLM_INLINE __m128 tree_of_4(const __m512 l[4]) {
    __m128 a[4];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        a[i] = tree_to_4(l[i]);
    }
    __m128 low = _mm_add_ps(_mm_shuffle_ps(a[0], a[1], 0x44), _mm_shuffle_ps(a[0], a[1], 0xee));
    __m128 high = _mm_add_ps(_mm_shuffle_ps(a[2], a[3], 0x44), _mm_shuffle_ps(a[2], a[3], 0xee));
    return _mm_add_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xdd));
}

// The first two steps of the trees of one row and four tokens: quad t holds 4 lanes of token t.
KLLM_INLINE __m512 trees_to_4(__m512 t0, __m512 t1, __m512 t2, __m512 t3) {
    __m512 a =
        _mm512_add_ps(_mm512_shuffle_f32x4(t0, t1, 0x44), _mm512_shuffle_f32x4(t0, t1, 0xee));
    __m512 b =
        _mm512_add_ps(_mm512_shuffle_f32x4(t2, t3, 0x44), _mm512_shuffle_f32x4(t2, t3, 0xee));
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// Trees of four rows and four tokens: quad t holds the rows of token t.
KLLM_INLINE __m512 trees_of_16(__m512 acc[TILE_TOKENS][TILE_ROWS]) {
    __m512 a[TILE_ROWS];
    KLLM_UNROLL
    for (uint32_t i = 0; i < TILE_ROWS; i++) {
        a[i] = trees_to_4(acc[0][i], acc[1][i], acc[2][i], acc[3][i]);
    }
    __m512 low =
        _mm512_add_ps(_mm512_shuffle_ps(a[0], a[1], 0x44), _mm512_shuffle_ps(a[0], a[1], 0xee));
    __m512 high =
        _mm512_add_ps(_mm512_shuffle_ps(a[2], a[3], 0x44), _mm512_shuffle_ps(a[2], a[3], 0xee));
    return _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xdd));
}

// Writes n_token results of the rows of a tile or what of them there is.
KLLM_INLINE void store_tile(const struct matrix *p, uint32_t r, uint32_t t,
                            __m512 acc[TILE_TOKENS][TILE_ROWS], uint32_t n_token) {
    float *y = p->y + (uint64_t)t * p->y_stride + r;
    float results[TILE_TOKENS * TILE_ROWS];
    if (n_token == 1) {
        _mm_storeu_ps(results, tree_of_4(acc[0]));
    } else {
        KLLM_UNROLL
        for (uint32_t i = 0; i < (TILE_TOKENS - n_token) * TILE_ROWS; i++) { // unused, but defined
            acc[n_token + i / TILE_ROWS][i % TILE_ROWS] = acc[0][i % TILE_ROWS];
        }
        _mm512_storeu_ps(results, trees_of_16(acc));
    }
    uint32_t n_row = min_u32((p->rows - r + p->gap - 1) / p->gap, TILE_ROWS);
    for (uint32_t k = 0; k < n_token; k++, y += p->y_stride) {
        if (n_row == TILE_ROWS && p->gap == 1) {
            _mm_storeu_ps(y, _mm_loadu_ps(results + k * TILE_ROWS));
        } else { // a masked store from a part of a register would not hold back its faults
            for (uint32_t i = 0; i < n_row; i++) {
                y[i * p->gap] = results[k * TILE_ROWS + i];
            }
        }
    }
}

// Four rows from r on times tokens [t, t + n_token); rows past the last repeat it.
KLLM_INLINE void multiply_tile(const struct matrix *p, uint32_t r, uint32_t t, uint32_t n_token,
                               uint32_t weight_bytes) {
    __m512 acc[TILE_TOKENS][TILE_ROWS];
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
            if (n_token == 1) {
                _mm_prefetch((const char *)at + AHEAD_BYTES, _MM_HINT_T1);
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
        __mmask16 valid = (__mmask16)((1u << (p->cols - n_whole)) - 1);
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
    store_tile(p, r, t, acc, n_token);
}

#endif
