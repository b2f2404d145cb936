// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "patch_avx2.h"

static inline __m256 column(const uint8_t *group, uint32_t half, uint32_t col, uint32_t n_block) {
    const uint8_t *block = group + col / KLLM_QK * KLLM_Q4_BLOCK + 32 * half;
    const uint8_t *scales =
        group + n_block * KLLM_Q4_BLOCK + col / KLLM_QK * 2 * KLLM_SCALE_BLOCK + 16 * half;
    __m256 q = _mm256_cvtepi32_ps(nibbles_at(block, place_q4(col)));
    return _mm256_fmadd_ps(q, load_scales(scales), load_scales(scales + KLLM_SCALE_BLOCK));
}

void kllm_patch_f32_q4_1_avx2(float *y, const void *w, const struct outlier *x, uint32_t rows,
                              uint32_t cols, uint32_t n_token, uint32_t y_stride) {
    patch_rows(y, w, x, rows, cols, n_token, y_stride, group_bytes_q4_1(cols), column);
}
