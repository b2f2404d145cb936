// SPDX-License-Identifier: Apache-2.0
// Many tokens times rows of few columns, the keys of attention: 16 rows are turned so that a
// register holds one column of each. The trees of 16 lanes are then plain additions, for which
// tokens that pass by rows as they lie need three shuffles each.
#ifndef KLLM_MATMUL_SHORT_AVX512_H
#define KLLM_MATMUL_SHORT_AVX512_H

#include "matmul_float_tile_avx512.h"

// 6 tokens: 4 levels of a tree, a chain each and a column are 31 registers.
enum { SHORT_COLS = 256, SHORT_ROWS = 16, SHORT_TOKENS = 6 };

// Columns [c, c + 16) of rows r[16]: out[i][k] = r[k][c + i].
KLLM_INLINE void turn_16(float out[][SHORT_ROWS], const uint8_t *const r[SHORT_ROWS], uint32_t c,
                         uint32_t weight_bytes) {
    __m512 a[SHORT_ROWS];
    __m512 b[SHORT_ROWS];
    KLLM_UNROLL
    for (uint32_t i = 0; i < SHORT_ROWS; i++) { // quads of 4 rows of one register lie 4 rows apart
        a[i] = load_16(r[i] + (uint64_t)c * weight_bytes, weight_bytes);
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < SHORT_ROWS; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < SHORT_ROWS; i += 4) { // a[i + k]: column k of each quad, 4 rows
        KLLM_UNROLL
        for (uint32_t k = 0; k < 2; k++) {
            __m512d low = _mm512_castps_pd(b[i + k]);
            __m512d high = _mm512_castps_pd(b[i + k + 2]);
            a[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    KLLM_UNROLL
    for (uint32_t k = 0; k < 4;
         k++) { // quad q of a[4 j + k]: column 4 q + k of rows 4 j to 4 j + 3
        __m512 even = _mm512_shuffle_f32x4(a[k], a[k + 4], 0x88);
        __m512 odd = _mm512_shuffle_f32x4(a[k], a[k + 4], 0xdd);
        __m512 even2 = _mm512_shuffle_f32x4(a[k + 8], a[k + 12], 0x88);
        __m512 odd2 = _mm512_shuffle_f32x4(a[k + 8], a[k + 12], 0xdd);
        _mm512_store_ps(out[k], _mm512_shuffle_f32x4(even, even2, 0x88));
        _mm512_store_ps(out[k + 4], _mm512_shuffle_f32x4(odd, odd2, 0x88));
        _mm512_store_ps(out[k + 8], _mm512_shuffle_f32x4(even, even2, 0xdd));
        _mm512_store_ps(out[k + 12], _mm512_shuffle_f32x4(odd, odd2, 0xdd));
    }
}

// Results of the 16 rows for six tokens. Lanes come in the order in which their tree needs them:
// a sum of 2^l lanes waits in level[l] for its neighbour.
KLLM_INLINE void multiply_turned(__m512 y[SHORT_TOKENS], const float w[][SHORT_ROWS],
                                 const float *const x[SHORT_TOKENS], uint32_t cols) {
    static const uint8_t lane_of[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
    __m512 level[4][SHORT_TOKENS];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 16; i++) {
        KLLM_UNROLL
        for (uint32_t t = 0; t < SHORT_TOKENS; t++) {
            y[t] = _mm512_setzero_ps();
        }
        for (uint32_t c = lane_of[i]; c < cols; c += 16) {
            __m512 column = _mm512_load_ps(w[c]);
            KLLM_UNROLL
            for (uint32_t t = 0; t < SHORT_TOKENS; t++) {
                y[t] = _mm512_fmadd_ps(column, _mm512_set1_ps(x[t][c]), y[t]);
            }
        }
        uint32_t n_level = (uint32_t)__builtin_ctz(~i); // sums that this lane completes
        KLLM_UNROLL
        for (uint32_t t = 0; t < SHORT_TOKENS; t++) {
            KLLM_UNROLL
            for (uint32_t l = 0; l < 4; l++) {
                if (l < n_level) {
                    y[t] = _mm512_add_ps(level[l][t], y[t]);
                } else if (l == n_level) {
                    level[l][t] = y[t];
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
        for (uint32_t c = 0; c < p->cols; c += 16) {
            turn_16(w + c, rows, c, weight_bytes);
        }
        __mmask16 written = (__mmask16)((1u << n_row) - 1);
        for (uint32_t t = 0; t < n_token; t += SHORT_TOKENS) {
            const float *x[SHORT_TOKENS];
            KLLM_UNROLL
            for (uint32_t k = 0; k < SHORT_TOKENS; k++) { // tokens past the last repeat it
                x[k] = p->x + (uint64_t)min_u32(t + k, n_token - 1) * p->cols;
            }
            __m512 y[SHORT_TOKENS];
            multiply_turned(y, (const float(*)[SHORT_ROWS])w, x, p->cols);
            KLLM_UNROLL
            for (uint32_t k = 0; k < SHORT_TOKENS; k++) {
                if (t + k < n_token) {
                    _mm512_mask_storeu_ps(p->y + (uint64_t)(t + k) * p->y_stride + r, written,
                                          y[k]);
                }
            }
        }
    }
}

#endif
