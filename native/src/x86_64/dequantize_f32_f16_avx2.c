// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "../f16.h"
#include "avx2.h"

void kllm_dequantize_f32_f16_avx2(float *y, const void *w, uint32_t row, uint32_t cols) {
    const uint16_t *weights = (const uint16_t *)w + (uint64_t)row * cols;
    uint32_t i = 0;
    for (; i + 8 <= cols; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(weights + i));
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(half));
    }
    for (; i < cols; i++) {
        y[i] = f32_of_f16(weights[i]);
    }
}
