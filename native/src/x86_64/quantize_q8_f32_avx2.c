// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "quantize_avx2.h"

void kllm_quantize_q8_f32_avx2(void *row, const float *x, uint32_t n) {
    int8_t *q = row;
    float *d = (float *)(void *)((uint8_t *)row + n);
    int32_t *sum = (int32_t *)(void *)((uint8_t *)row + n + n / 8);
    for (uint32_t b = 0; b < n / KLLM_QK; b++, x += KLLM_QK, q += KLLM_QK) {
        const __m256 v[4] = {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8), _mm256_loadu_ps(x + 16),
                             _mm256_loadu_ps(x + 24)};
        __m256i bytes = quantize_block(v, &d[b]);
        _mm256_storeu_si256((__m256i *)(void *)q, bytes);
        sum[b] = sum_bytes(bytes);
    }
}
