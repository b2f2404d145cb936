// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "dequantize_avx2.h"

void kllm_dequantize_f32_q4_1_avx2(float *y, const void *w, uint32_t row, uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint32_t r = row % KLLM_GROUP;
    const uint8_t *group = (const uint8_t *)w + row / KLLM_GROUP * group_bytes_q4_1(cols);
    const uint16_t *scale = (const uint16_t *)(const void *)(group + n_block * KLLM_Q4_BLOCK) + r;
    const __m128i low = _mm_set1_epi8(15);
    for (uint32_t b = 0; b < n_block; b++, y += KLLM_QK) {
        __m128i bytes = load_row_bytes(group + b * KLLM_Q4_BLOCK + r * 4);
        float d = f32_of_f16(scale[b * 2 * KLLM_GROUP]);
        float m = f32_of_f16(scale[(b * 2 + 1) * KLLM_GROUP]);
        store_scaled(y, _mm_and_si128(bytes, low), d, &m);
        store_scaled(y + KLLM_QK / 2, _mm_and_si128(_mm_srli_epi16(bytes, 4), low), d, &m);
    }
}
