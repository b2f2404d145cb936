// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__F16C__)
#error "this file needs AVX2 and F16C"
#endif
#include <immintrin.h>

#include "../kernels.h"

void kllm_quantize_f16_f32_avx2(void *row, const float *x, uint32_t n) {
    uint16_t *out = row;
    for (uint32_t i = 0; i < n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)(out + i), half);
    }
}
