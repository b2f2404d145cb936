// SPDX-License-Identifier: Apache-2.0
// One row out of a packed group.
#ifndef KLLM_DEQUANTIZE_AVX2_H
#define KLLM_DEQUANTIZE_AVX2_H

#include "../f16.h"
#include "../layout.h"
#include "avx2.h"

// 16 bytes of a row: 4 of each of 4 chunks. p: the row's bytes in the first chunk.
KLLM_INLINE __m128i load_row_bytes(const uint8_t *p) {
    const int32_t *first = (const int32_t *)(const void *)p;
    return _mm_setr_epi32(first[0], first[KLLM_CHUNK / 4], first[2 * (KLLM_CHUNK / 4)],
                          first[3 * (KLLM_CHUNK / 4)]);
}

// Writes 16 signed bytes b as b * d + m; without an offset as b * d, whose zeros keep their sign.
KLLM_INLINE void store_scaled(float *y, __m128i bytes, float d, const float *m) {
    for (uint32_t i = 0; i < 2; i++) {
        __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
        __m256 v = m == NULL ? _mm256_mul_ps(q, _mm256_set1_ps(d))
                             : _mm256_fmadd_ps(q, _mm256_set1_ps(d), _mm256_set1_ps(*m));
        _mm256_storeu_ps(y + 8 * i, v);
        bytes = _mm_srli_si128(bytes, 8);
    }
}

#endif
