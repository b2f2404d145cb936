// SPDX-License-Identifier: Apache-2.0
// Many tokens times rows of few columns, the keys of attention: 16 rows are turned so that two
// registers hold one column of each. The trees of 16 lanes are then plain additions, for which
// tokens that pass by rows as they lie need shuffles.
#ifndef KLLM_MATMUL_SHORT_AVX2_H
#define KLLM_MATMUL_SHORT_AVX2_H

#include "avx2.h"

// 4 tokens x 16 rows are 8 chains of multiply-adds, two registers of a column and an input.
enum { SHORT_COLS = 256, SHORT_ROWS = 16, SHORT_TOKENS = 8, TURNED_TOKENS = 4 };

struct matrix {
    float *y;
    const uint8_t *w;
    const float *x;
    uint32_t rows;
    uint32_t cols;
    uint32_t y_stride;
};

KLLM_INLINE __m256 load_8(const uint8_t *w, uint32_t weight_bytes) {
    return weight_bytes == 2 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w))
                             : _mm256_loadu_ps((const float *)(const void *)w);
}

// Columns [c, c + 8) of rows r[8]: out[i][k] = r[k][c + i].
KLLM_INLINE void turn_8(float (*out)[SHORT_ROWS], const uint8_t *const r[8], uint32_t c,
                        uint32_t weight_bytes) {
    __m256 a[8];
    __m256 b[8];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        a[i] = load_8(r[i] + (uint64_t)c * weight_bytes, weight_bytes);
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < 8; i += 4) { // a[i + k]: columns k and k + 4 of 4 rows
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    KLLM_UNROLL
    for (uint32_t k = 0; k < 4; k++) {
        _mm256_storeu_ps(out[k], _mm256_permute2f128_ps(a[k], a[k + 4], 0x20));
        _mm256_storeu_ps(out[k + 4], _mm256_permute2f128_ps(a[k], a[k + 4], 0x31));
    }
}

// Results of the 16 rows for some tokens. Lanes come in the order in which their tree needs them:
// a sum of 2^l lanes waits in level[l] for its neighbour.
KLLM_INLINE void multiply_turned(__m256 y[TURNED_TOKENS][2], const float w[][SHORT_ROWS],
                                 const float *const x[TURNED_TOKENS], uint32_t cols) {
    static const uint8_t lane_of[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
    __m256 level[4][TURNED_TOKENS][2];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 16; i++) {
        KLLM_UNROLL
        for (uint32_t t = 0; t < TURNED_TOKENS; t++) {
            y[t][0] = y[t][1] = _mm256_setzero_ps();
        }
        for (uint32_t c = lane_of[i]; c < cols; c += 16) {
            __m256 low = _mm256_loadu_ps(w[c]);
            __m256 high = _mm256_loadu_ps(w[c] + 8);
            KLLM_UNROLL
            for (uint32_t t = 0; t < TURNED_TOKENS; t++) {
                __m256 v = _mm256_broadcast_ss(x[t] + c);
                y[t][0] = _mm256_fmadd_ps(low, v, y[t][0]);
                y[t][1] = _mm256_fmadd_ps(high, v, y[t][1]);
            }
        }
        uint32_t n_level = (uint32_t)__builtin_ctz(~i); // sums that this lane completes
        KLLM_UNROLL
        for (uint32_t k = 0; k < 2 * TURNED_TOKENS; k++) {
            __m256 *sum = &y[k / 2][k % 2];
            KLLM_UNROLL
            for (uint32_t l = 0; l < 4; l++) {
                if (l < n_level) {
                    *sum = _mm256_add_ps(level[l][k / 2][k % 2], *sum);
                } else if (l == n_level) {
                    level[l][k / 2][k % 2] = *sum;
                }
            }
        }
    }
}

KLLM_INLINE void multiply_short(const struct matrix *p, uint32_t n_token, uint32_t weight_bytes) {
    float w[SHORT_COLS][SHORT_ROWS] __attribute__((aligned(64)));
    uint64_t row_bytes = (uint64_t)p->cols * weight_bytes;
    for (uint32_t r = 0; r < p->rows; r += SHORT_ROWS) {
        uint32_t n_row = min_u32(p->rows - r, SHORT_ROWS);
        const uint8_t *rows[SHORT_ROWS];
        for (uint32_t i = 0; i < SHORT_ROWS; i++) { // rows past the last repeat it
            rows[i] = p->w + (r + min_u32(i, n_row - 1)) * row_bytes;
        }
        for (uint32_t c = 0; c < p->cols; c += 8) {
            turn_8(w + c, rows, c, weight_bytes);
            turn_8((float(*)[SHORT_ROWS])(w[c] + 8), rows + 8, c, weight_bytes);
        }
        for (uint32_t t = 0; t < n_token; t += TURNED_TOKENS) {
            const float *x[TURNED_TOKENS];
            KLLM_UNROLL
            for (uint32_t k = 0; k < TURNED_TOKENS; k++) { // tokens past the last repeat it
                x[k] = p->x + (uint64_t)min_u32(t + k, n_token - 1) * p->cols;
            }
            __m256 y[TURNED_TOKENS][2];
            multiply_turned(y, (const float(*)[SHORT_ROWS])w, x, p->cols);
            KLLM_UNROLL
            for (uint32_t k = 0; k < TURNED_TOKENS; k++) {
                if (t + k < n_token) {
                    float *out = p->y + (uint64_t)(t + k) * p->y_stride + r;
                    store_first(out, y[k][0], n_row);
                    store_first(out + 8, y[k][1], n_row < 8 ? 0 : n_row - 8);
                }
            }
        }
    }
}

#endif
