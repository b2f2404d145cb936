// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 16 packed rows.
#ifndef KLLM_PATCH_AVX512_H
#define KLLM_PATCH_AVX512_H

#include <immintrin.h>

#include "../kernels.h"
#include "../layout.h"

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

// The integers of a column: nibbles look their value up, which needs no mask and no conversion.
KLLM_INLINE __m512 load_quants(const uint8_t *group, const struct place *place,
                               uint32_t block_bytes, uint32_t scale_bytes) {
    __m512i words = _mm512_loadu_si512(group + place->words_off);
    if (block_bytes == KLLM_Q8_BLOCK) {
        words = _mm512_sll_epi32(words, _mm_cvtsi32_si128(24 - (int32_t)place->shift));
        return _mm512_cvtepi32_ps(_mm512_srai_epi32(words, 24));
    }
    float bias = scale_bytes == KLLM_SCALE_BLOCK ? 8.0f : 0.0f;
    const __m512 values =
        _mm512_sub_ps(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                      _mm512_set1_ps(bias));
    return _mm512_permutexvar_ps(
        _mm512_srlv_epi32(words, _mm512_set1_epi32((int32_t)place->shift)), values);
}

KLLM_INLINE __m512 load_scales(const uint8_t *scales) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)scales));
}

// Rows of one group times tokens of one tile.
KLLM_INLINE void patch_group(float *y, uint32_t y_stride, uint32_t n_row, const uint8_t *group,
                             struct place places[][KLLM_N_OUTLIER], uint32_t n_token,
                             uint32_t block_bytes, uint32_t scale_bytes) {
    __mmask16 valid = (__mmask16)((1u << n_row) - 1);
    for (uint32_t t = 0; t < n_token; t++, y += y_stride) {
        __m512 acc = _mm512_maskz_loadu_ps(valid, y);
        KLLM_UNROLL
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
            const struct place *place = &places[t][k];
            __m512 q = load_quants(group, place, block_bytes, scale_bytes);
            __m512 d = load_scales(group + place->scales_off);
            __m512 element =
                scale_bytes == KLLM_SCALE_BLOCK
                    ? _mm512_mul_ps(q, d)
                    : _mm512_fmadd_ps(q, d,
                                      load_scales(group + place->scales_off + KLLM_SCALE_BLOCK));
            acc = _mm512_fmadd_ps(element, _mm512_set1_ps(place->x), acc);
        }
        _mm512_mask_storeu_ps(y, valid, acc);
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
