// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 8 packed rows.
#ifndef KLLM_PATCH_AVX2_H
#define KLLM_PATCH_AVX2_H

#include "../layout.h"
#include "avx2.h"

// Tokens that pass by a group together; where their outliers stand is found once for all rows.
enum { TILE_TOKENS = 32 };

// Where a column stands in a group: the words of 16 rows, the bits in a word, the scales.
struct place {
    uint32_t words_off;
    uint32_t scales_off;
    uint32_t shift;
    float x;
};

KLLM_INLINE struct place place_of(struct outlier outlier, uint32_t n_block, uint32_t block_bytes,
                                  uint32_t scale_bytes) {
    uint32_t block = outlier.col / KLLM_QK;
    uint32_t i = outlier.col % KLLM_QK;
    uint32_t chunk = block_bytes == KLLM_Q8_BLOCK ? i / 4 : i % 16 / 4;
    uint32_t high_nibble = block_bytes == KLLM_Q8_BLOCK ? 0 : i / 16;
    return (struct place){block * block_bytes + chunk * KLLM_CHUNK,
                          n_block * block_bytes + block * scale_bytes, i % 4 * 8 + high_nibble * 4,
                          outlier.x};
}

// The integers of a column in 8 rows.
KLLM_INLINE __m256 load_quants(const uint8_t *words_of_8, uint32_t shift, uint32_t block_bytes,
                               uint32_t scale_bytes) {
    __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)words_of_8);
    if (block_bytes == KLLM_Q8_BLOCK) {
        words = _mm256_sllv_epi32(words, _mm256_set1_epi32(24 - (int32_t)shift));
        return _mm256_cvtepi32_ps(_mm256_srai_epi32(words, 24));
    }
    words = _mm256_srlv_epi32(words, _mm256_set1_epi32((int32_t)shift));
    words = _mm256_and_si256(words, _mm256_set1_epi32(15));
    if (scale_bytes == KLLM_SCALE_BLOCK) {
        words = _mm256_sub_epi32(words, _mm256_set1_epi32(8));
    }
    return _mm256_cvtepi32_ps(words);
}

KLLM_INLINE __m256 load_scales(const uint8_t *scales) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)scales));
}

// Rows of one group times tokens of one tile.
KLLM_INLINE void patch_group(float *y, uint32_t y_stride, uint32_t n_row, const uint8_t *group,
                             struct place places[][KLLM_N_OUTLIER], uint32_t n_token,
                             uint32_t block_bytes, uint32_t scale_bytes) {
    for (uint32_t t = 0; t < n_token; t++, y += y_stride) {
        for (uint32_t first = 0; first < n_row; first += 8) {
            __m256 acc = load_first(y + first, n_row - first);
            KLLM_UNROLL
            for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
                const struct place *place = &places[t][k];
                const uint8_t *scales = group + place->scales_off + first * 2;
                __m256 q = load_quants(group + place->words_off + first * 4, place->shift,
                                       block_bytes, scale_bytes);
                __m256 d = load_scales(scales);
                __m256 element =
                    scale_bytes == KLLM_SCALE_BLOCK
                        ? _mm256_mul_ps(q, d)
                        : _mm256_fmadd_ps(q, d, load_scales(scales + KLLM_SCALE_BLOCK));
                acc = _mm256_fmadd_ps(element, _mm256_set1_ps(place->x), acc);
            }
            store_first(y + first, acc, n_row - first);
        }
    }
}

/// kllm_patch_fn for the quantised type whose blocks have these sizes.
KLLM_INLINE void patch_rows(float *y, const void *w, const struct outlier *x, uint32_t rows,
                            uint32_t cols, uint32_t n_token, uint32_t y_stride,
                            uint32_t block_bytes, uint32_t scale_bytes) {
    uint32_t n_block = cols / KLLM_QK;
    uint64_t group_bytes = align_up((uint64_t)n_block * (block_bytes + scale_bytes), KLLM_ALIGN);
    for (uint32_t t = 0; t < n_token; t += TILE_TOKENS) {
        struct place places[TILE_TOKENS][KLLM_N_OUTLIER];
        uint32_t n_tile = min_u32(TILE_TOKENS, n_token - t);
        for (uint32_t i = 0; i < n_tile * KLLM_N_OUTLIER; i++) {
            places[i / KLLM_N_OUTLIER][i % KLLM_N_OUTLIER] =
                place_of(x[(uint64_t)t * KLLM_N_OUTLIER + i], n_block, block_bytes, scale_bytes);
        }
        const uint8_t *group = w;
        for (uint32_t r = 0; r < rows; r += KLLM_GROUP, group += group_bytes) {
            patch_group(y + (uint64_t)t * y_stride + r, y_stride, min_u32(rows - r, KLLM_GROUP),
                        group, places, n_tile, block_bytes, scale_bytes);
        }
    }
}

#endif
