// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 16 packed rows.
#ifndef KLLM_PATCH_AVX512_H
#define KLLM_PATCH_AVX512_H

#include <immintrin.h>

// A token passes by some groups at a time: where its columns stand is looked up once for them, and
// what is added to lies in one run.
enum { TILE_TOKENS = 128, TILE_COLUMNS = 128, TILE_GROUPS = 4 };

#include "../patch.h"

// The integers of a column: nibbles look their value up, which needs no mask and no conversion.
KLLM_INLINE __m512 load_quants(const uint8_t *group, struct place place, struct packed_type type) {
    __m512i words = _mm512_loadu_si512(group + place.words_off);
    if (type.block_bytes == KLLM_Q8_BLOCK) {
        words = _mm512_sll_epi32(words, _mm_cvtsi32_si128(24 - (int32_t)place.shift));
        return _mm512_cvtepi32_ps(_mm512_srai_epi32(words, 24));
    }
    float bias = type.scale_bytes == KLLM_SCALE_BLOCK ? 8.0f : 0.0f;
    const __m512 values =
        _mm512_sub_ps(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                      _mm512_set1_ps(bias));
    return _mm512_permutexvar_ps(_mm512_srlv_epi32(words, _mm512_set1_epi32((int32_t)place.shift)),
                                 values);
}

KLLM_INLINE __m512 load_scales(const uint8_t *scales) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)scales));
}

// The 16 elements of a column in a group, as kllm_dequantize_fn reads them.
KLLM_INLINE __m512 read_column(const uint8_t *group, struct place place, struct packed_type type) {
    const uint8_t *scales = group + place.scales_off;
    __m512 q = load_quants(group, place, type);
    __m512 d = load_scales(scales);
    return type.scale_bytes == KLLM_SCALE_BLOCK
               ? _mm512_mul_ps(q, d)
               : _mm512_fmadd_ps(q, d, load_scales(scales + KLLM_SCALE_BLOCK));
}

// One token, straight from the packed rows.
KLLM_INLINE void patch_one(float *y, const uint8_t *w, const struct outlier *x, uint32_t rows,
                           struct packed_type type) {
    struct place places[KLLM_N_OUTLIER];
    __m512 v[KLLM_N_OUTLIER];
    KLLM_UNROLL
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        places[k] = place_of(x[k].col, type);
        v[k] = _mm512_set1_ps(x[k].x);
    }
    for (uint32_t r = 0; r < rows; r += KLLM_GROUP, w += type.group_bytes) {
        __mmask16 valid = (__mmask16)((1u << min_u32(rows - r, KLLM_GROUP)) - 1);
        __m512 acc = _mm512_maskz_loadu_ps(valid, y + r);
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            acc = _mm512_fmadd_ps(read_column(w, places[k], type), v[k], acc);
        }
        _mm512_mask_storeu_ps(y + r, valid, acc);
    }
}

// Rows of n_group groups, a constant, times tokens of a tile; written: which rows of each group.
KLLM_INLINE void patch_groups(float *y, const uint8_t *w, const struct tile *tile,
                              const struct outlier *x, uint32_t y_stride, struct packed_type type,
                              uint32_t n_group, __mmask16 written) {
    float columns[TILE_COLUMNS][TILE_GROUPS][KLLM_GROUP] __attribute__((aligned(64)));
    for (uint32_t i = 0; i < tile->n_column; i++) {
        struct place place = tile->places[i];
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            _mm512_store_ps(columns[i][g], read_column(w + g * type.group_bytes, place, type));
        }
    }
    for (uint32_t t = 0; t < tile->n_token; t++, y += y_stride, x += KLLM_N_OUTLIER) {
        __m512 acc[TILE_GROUPS];
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            acc[g] = _mm512_maskz_loadu_ps(written, y + g * KLLM_GROUP);
        }
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            const float(*column)[KLLM_GROUP] =
                (const float(*)[KLLM_GROUP])columns[tile->column_of[t][k]];
            KLLM_UNROLL
            for (uint32_t g = 0; g < n_group; g++) {
                acc[g] =
                    _mm512_fmadd_ps(_mm512_load_ps(column[g]), _mm512_set1_ps(x[k].x), acc[g]);
            }
        }
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            _mm512_mask_storeu_ps(y + g * KLLM_GROUP, written, acc[g]);
        }
    }
}

KLLM_INLINE void patch_tile(float *y, const uint8_t *w, const struct tile *tile,
                            const struct outlier *x, uint32_t rows, uint32_t y_stride,
                            struct packed_type type) {
    uint32_t r = 0;
    for (; r + TILE_GROUPS * KLLM_GROUP <= rows; r += TILE_GROUPS * KLLM_GROUP) {
        patch_groups(y + r, w, tile, x, y_stride, type, TILE_GROUPS, 0xffff);
        w += TILE_GROUPS * type.group_bytes;
    }
    for (; r < rows; r += KLLM_GROUP, w += type.group_bytes) {
        __mmask16 written = (__mmask16)((1u << min_u32(rows - r, KLLM_GROUP)) - 1);
        patch_groups(y + r, w, tile, x, y_stride, type, 1, written);
    }
}

/// kllm_patch_fn for the quantised type whose blocks have these sizes.
KLLM_INLINE void patch_rows(float *y, const void *w, const struct outlier *x, uint32_t rows,
                            uint32_t cols, uint32_t n_token, uint32_t y_stride,
                            uint32_t block_bytes, uint32_t scale_bytes) {
    struct packed_type type = packed_type(block_bytes, scale_bytes, cols);
    struct tile tile;
    for (uint32_t t = 0; t < n_token; t += tile.n_token) {
        if (n_token - t < LEAST_TOKENS) {
            patch_one(y, w, x, rows, type);
            tile.n_token = 1;
        } else {
            make_tile(&tile, x, n_token - t, type);
            patch_tile(y, w, &tile, x, rows, y_stride, type);
        }
        x += (uint64_t)tile.n_token * KLLM_N_OUTLIER;
        y += (uint64_t)tile.n_token * y_stride;
    }
}

#endif
