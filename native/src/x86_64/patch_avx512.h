// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 16 packed rows.
#ifndef KLLM_PATCH_AVX512_H
#define KLLM_PATCH_AVX512_H

#include <immintrin.h>

#include "../kernels.h"
#include "../layout.h"

// Tokens of a tile share columns: few channels are large, and they are so in most tokens. Each
// column is read as floats once for all tokens of a tile, which ends where the room for columns does.
// A token passes by several groups at a time: where its columns stand is looked up once for them,
// and what is added to lies in one run.
enum { TILE_TOKENS = 128, TILE_COLUMNS = 128, TILE_GROUPS = 4, N_SLOT = 1024, LEAST_TOKENS = 8 };

// Where a column stands in a group: the words of 16 rows, the bits in a word, the scales.
struct place {
    uint32_t col;
    uint32_t words_off;
    uint32_t scales_off;
    uint32_t shift;
};

struct tile {
    uint32_t n_token;
    uint32_t n_column;
    struct place places[TILE_COLUMNS];
    uint32_t column_of[TILE_TOKENS][KLLM_N_OUTLIER];
};

KLLM_INLINE struct place place_of(uint32_t col, uint32_t n_block, uint32_t block_bytes,
                                  uint32_t scale_bytes) {
    uint32_t block = col / KLLM_QK;
    uint32_t i = col % KLLM_QK;
    uint32_t chunk = block_bytes == KLLM_Q8_BLOCK ? i / 4 : i % 16 / 4;
    uint32_t high_nibble = block_bytes == KLLM_Q8_BLOCK ? 0 : i / 16;
    return (struct place){col, block * block_bytes + chunk * KLLM_CHUNK,
                          n_block * block_bytes + block * scale_bytes,
                          i % 4 * 8 + high_nibble * 4};
}

// Makes a tile of the first tokens of at most n_token. Of two columns that share a slot the one seen
// last is found; the other, should it come again, is read twice.
KLLM_INLINE void make_tile(struct tile *tile, const struct outlier *x, uint32_t n_token,
                           uint32_t n_block, uint32_t block_bytes, uint32_t scale_bytes) {
    uint8_t slots[N_SLOT] = {0};
    uint32_t n = 0;
    uint32_t t = 0;
    tile->places[0].col = ~0u; // what an empty slot finds
    for (; t < min_u32(n_token, TILE_TOKENS) && n + KLLM_N_OUTLIER <= TILE_COLUMNS; t++) {
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++, x++) {
            uint8_t *slot = &slots[x->col % N_SLOT];
            if (tile->places[*slot].col != x->col) {
                *slot = (uint8_t)n;
                tile->places[n++] = place_of(x->col, n_block, block_bytes, scale_bytes);
            }
            tile->column_of[t][k] = *slot;
        }
    }
    tile->n_token = t;
    tile->n_column = n;
}

// The integers of a column: nibbles look their value up, which needs no mask and no conversion.
KLLM_INLINE __m512 load_quants(const uint8_t *group, struct place place, uint32_t block_bytes,
                               uint32_t scale_bytes) {
    __m512i words = _mm512_loadu_si512(group + place.words_off);
    if (block_bytes == KLLM_Q8_BLOCK) {
        words = _mm512_sll_epi32(words, _mm_cvtsi32_si128(24 - (int32_t)place.shift));
        return _mm512_cvtepi32_ps(_mm512_srai_epi32(words, 24));
    }
    float bias = scale_bytes == KLLM_SCALE_BLOCK ? 8.0f : 0.0f;
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
KLLM_INLINE __m512 read_column(const uint8_t *group, struct place place, uint32_t block_bytes,
                               uint32_t scale_bytes) {
    const uint8_t *scales = group + place.scales_off;
    __m512 q = load_quants(group, place, block_bytes, scale_bytes);
    __m512 d = load_scales(scales);
    return scale_bytes == KLLM_SCALE_BLOCK
               ? _mm512_mul_ps(q, d)
               : _mm512_fmadd_ps(q, d, load_scales(scales + KLLM_SCALE_BLOCK));
}

// The sizes of a quantised type, and of a group of its rows.
struct type {
    uint32_t block_bytes;
    uint32_t scale_bytes;
    uint64_t group_bytes;
};

// One token, straight from the packed rows.
KLLM_INLINE void patch_one(float *y, const uint8_t *w, const struct outlier *x, uint32_t rows,
                           uint32_t n_block, struct type type) {
    struct place places[KLLM_N_OUTLIER];
    __m512 v[KLLM_N_OUTLIER];
    KLLM_UNROLL
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        places[k] = place_of(x[k].col, n_block, type.block_bytes, type.scale_bytes);
        v[k] = _mm512_set1_ps(x[k].x);
    }
    for (uint32_t r = 0; r < rows; r += KLLM_GROUP, w += type.group_bytes) {
        __mmask16 valid = (__mmask16)((1u << min_u32(rows - r, KLLM_GROUP)) - 1);
        __m512 acc = _mm512_maskz_loadu_ps(valid, y + r);
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            acc = _mm512_fmadd_ps(read_column(w, places[k], type.block_bytes, type.scale_bytes),
                                  v[k], acc);
        }
        _mm512_mask_storeu_ps(y + r, valid, acc);
    }
}

// Rows of n_group groups, a constant, times tokens of a tile; written: which rows of each group.
KLLM_INLINE void patch_groups(float *y, const uint8_t *w, const struct tile *tile,
                              const struct outlier *x, uint32_t y_stride, struct type type,
                              uint32_t n_group, __mmask16 written) {
    float columns[TILE_COLUMNS][TILE_GROUPS][KLLM_GROUP] __attribute__((aligned(64)));
    for (uint32_t i = 0; i < tile->n_column; i++) {
        struct place place = tile->places[i];
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            _mm512_store_ps(columns[i][g], read_column(w + g * type.group_bytes, place,
                                                       type.block_bytes, type.scale_bytes));
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
                            struct type type) {
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
    uint32_t n_block = cols / KLLM_QK;
    struct type type = {block_bytes, scale_bytes,
                        align_up((uint64_t)n_block * (block_bytes + scale_bytes), KLLM_ALIGN)};
    struct tile tile;
    for (uint32_t t = 0; t < n_token; t += tile.n_token) {
        if (n_token - t < LEAST_TOKENS) {
            patch_one(y, w, x, rows, n_block, type);
            tile.n_token = 1;
        } else {
            make_tile(&tile, x, n_token - t, n_block, block_bytes, scale_bytes);
            patch_tile(y, w, &tile, x, rows, y_stride, type);
        }
        x += (uint64_t)tile.n_token * KLLM_N_OUTLIER;
        y += (uint64_t)tile.n_token * y_stride;
    }
}

#endif
