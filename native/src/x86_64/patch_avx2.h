// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 16 packed rows.
#ifndef KLLM_PATCH_AVX2_H
#define KLLM_PATCH_AVX2_H

// A token passes by some groups at a time: where its columns stand is looked up once for them. The
// columns take half of the first cache.
enum { TILE_TOKENS = 128, TILE_COLUMNS = 128, TILE_GROUPS = 2 };

#include "../patch.h"
#include "avx2.h"

// 16 rows.
struct rows16 {
    __m256 v[2];
};

KLLM_INLINE struct rows16 load_rows(const float *y, uint32_t n_row) {
    return (struct rows16){{load_first(y, n_row), load_first(y + 8, n_row < 8 ? 0 : n_row - 8)}};
}

KLLM_INLINE void store_rows(float *y, struct rows16 rows, uint32_t n_row) {
    store_first(y, rows.v[0], n_row);
    store_first(y + 8, rows.v[1], n_row < 8 ? 0 : n_row - 8);
}

// The integers of a column in 8 rows.
KLLM_INLINE __m256 load_quants(const uint8_t *words_of_8, uint32_t shift,
                               struct packed_type type) {
    __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)words_of_8);
    if (type.block_bytes == KLLM_Q8_BLOCK) {
        words = _mm256_sll_epi32(words, _mm_cvtsi32_si128(24 - (int32_t)shift));
        return _mm256_cvtepi32_ps(_mm256_srai_epi32(words, 24));
    }
    words = _mm256_srl_epi32(words, _mm_cvtsi32_si128((int32_t)shift));
    words = _mm256_and_si256(words, _mm256_set1_epi32(15));
    if (type.scale_bytes == KLLM_SCALE_BLOCK) {
        words = _mm256_sub_epi32(words, _mm256_set1_epi32(8));
    }
    return _mm256_cvtepi32_ps(words);
}

KLLM_INLINE __m256 load_scales(const uint8_t *scales) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)scales));
}

// The 16 elements of a column in a group, as kllm_dequantize_fn reads them.
KLLM_INLINE struct rows16 read_column(const uint8_t *group, struct place place,
                                      struct packed_type type) {
    struct rows16 column;
    KLLM_UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        const uint8_t *scales = group + place.scales_off + 16 * h;
        __m256 q = load_quants(group + place.words_off + 32 * h, place.shift, type);
        __m256 d = load_scales(scales);
        column.v[h] = type.scale_bytes == KLLM_SCALE_BLOCK
                          ? _mm256_mul_ps(q, d)
                          : _mm256_fmadd_ps(q, d, load_scales(scales + KLLM_SCALE_BLOCK));
    }
    return column;
}

// One token, straight from the packed rows.
KLLM_INLINE void patch_one(float *y, const uint8_t *w, const struct outlier *x, uint32_t rows,
                           struct packed_type type) {
    struct place places[KLLM_N_OUTLIER];
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        places[k] = place_of(x[k].col, type);
    }
    for (uint32_t r = 0; r < rows; r += KLLM_GROUP, w += type.group_bytes) {
        struct rows16 acc = load_rows(y + r, rows - r);
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            struct rows16 column = read_column(w, places[k], type);
            KLLM_UNROLL
            for (uint32_t h = 0; h < 2; h++) {
                acc.v[h] = _mm256_fmadd_ps(column.v[h], _mm256_set1_ps(x[k].x), acc.v[h]);
            }
        }
        store_rows(y + r, acc, rows - r);
    }
}

// Rows of n_group groups, a constant, times tokens of a tile; n_row: of the last group.
KLLM_INLINE void patch_groups(float *y, const uint8_t *w, const struct tile *tile,
                              const struct outlier *x, uint32_t y_stride, struct packed_type type,
                              uint32_t n_group, uint32_t n_row) {
    struct rows16 columns[TILE_COLUMNS][TILE_GROUPS];
    for (uint32_t i = 0; i < tile->n_column; i++) {
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            columns[i][g] = read_column(w + g * type.group_bytes, tile->places[i], type);
        }
    }
    for (uint32_t t = 0; t < tile->n_token; t++, y += y_stride, x += KLLM_N_OUTLIER) {
        struct rows16 acc[TILE_GROUPS];
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            acc[g] = load_rows(y + g * KLLM_GROUP, g + 1 < n_group ? KLLM_GROUP : n_row);
        }
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            const struct rows16 *column = columns[tile->column_of[t][k]];
            __m256 factor = _mm256_broadcast_ss(&x[k].x);
            KLLM_UNROLL
            for (uint32_t g = 0; g < n_group; g++) {
                acc[g].v[0] = _mm256_fmadd_ps(column[g].v[0], factor, acc[g].v[0]);
                acc[g].v[1] = _mm256_fmadd_ps(column[g].v[1], factor, acc[g].v[1]);
            }
        }
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            store_rows(y + g * KLLM_GROUP, acc[g], g + 1 < n_group ? KLLM_GROUP : n_row);
        }
    }
}

KLLM_INLINE void patch_tile(float *y, const uint8_t *w, const struct tile *tile,
                            const struct outlier *x, uint32_t rows, uint32_t y_stride,
                            struct packed_type type) {
    uint32_t r = 0;
    for (; r + TILE_GROUPS * KLLM_GROUP <= rows; r += TILE_GROUPS * KLLM_GROUP) {
        patch_groups(y + r, w, tile, x, y_stride, type, TILE_GROUPS, KLLM_GROUP);
        w += TILE_GROUPS * type.group_bytes;
    }
    for (; r < rows; r += KLLM_GROUP, w += type.group_bytes) {
        patch_groups(y + r, w, tile, x, y_stride, type, 1, min_u32(rows - r, KLLM_GROUP));
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
