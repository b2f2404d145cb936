// SPDX-License-Identifier: Apache-2.0
// The outliers of a token times one column each of 8 packed rows.
#ifndef KLLM_PATCH_AVX2_H
#define KLLM_PATCH_AVX2_H

#include "../layout.h"
#include "avx2.h"

// Where a column stands in a block of packed rows: which chunk, and which bits of each word.
struct place {
    uint32_t chunk_off;
    uint32_t shift;
};

KLLM_INLINE struct place place_q4(uint32_t col) {
    uint32_t in_block = col % KLLM_QK;
    return (struct place){in_block % 16 / 4 * KLLM_CHUNK, in_block % 4 * 8 + in_block / 16 * 4};
}

KLLM_INLINE struct place place_q8(uint32_t col) {
    uint32_t in_block = col % KLLM_QK;
    return (struct place){in_block / 4 * KLLM_CHUNK, in_block % 4 * 8};
}

KLLM_INLINE __m256i load_words(const uint8_t *bytes) {
    return _mm256_loadu_si256((const __m256i *)(const void *)bytes);
}

KLLM_INLINE __m256 load_scales(const uint8_t *scales) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)scales));
}

KLLM_INLINE __m256i nibbles_at(const uint8_t *block, struct place place) {
    __m256i words = load_words(block + place.chunk_off);
    words = _mm256_srl_epi32(words, _mm_cvtsi32_si128((int32_t)place.shift));
    return _mm256_and_si256(words, _mm256_set1_epi32(15));
}

KLLM_INLINE __m256i bytes_at(const uint8_t *block, struct place place) {
    __m256i words = load_words(block + place.chunk_off);
    words = _mm256_sll_epi32(words, _mm_cvtsi32_si128((int32_t)(24 - place.shift)));
    return _mm256_srai_epi32(words, 24);
}

// The elements of 8 rows in a column: group and half (0 or 1) say which rows.
typedef __m256 column_fn(const uint8_t *group, uint32_t half, uint32_t col, uint32_t n_block);

/// kllm_patch_fn for rows whose columns `column` reads.
KLLM_INLINE void patch_rows(float *y, const void *w, const struct outlier *x, uint32_t rows,
                            uint32_t cols, uint32_t n_token, uint32_t y_stride,
                            uint64_t group_bytes, column_fn *column) {
    const uint8_t *group = w;
    for (uint32_t r = 0; r < rows; r += KLLM_GROUP, group += group_bytes) {
        for (uint32_t t = 0; t < n_token; t++) {
            const struct outlier *of_token = x + (uint64_t)t * KLLM_N_OUTLIER;
            for (uint32_t half = 0; half < 2 && r + 8 * half < rows; half++) {
                float *to = y + (uint64_t)t * y_stride + r + 8 * half;
                uint32_t n = min_u32(8, rows - r - 8 * half);
                __m256 acc = load_first(to, n);
                for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
                    __m256 element = column(group, half, of_token[k].col, cols / KLLM_QK);
                    acc = _mm256_fmadd_ps(element, _mm256_set1_ps(of_token[k].x), acc);
                }
                store_first(to, acc, n);
            }
        }
    }
}

#endif
