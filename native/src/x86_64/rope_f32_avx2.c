// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs AVX2, FMA and F16C"
#endif
#include "avx2.h"

// Pairs (2i, 2i + 1) of n_rot elements.
static void rotate_adjacent(float *x, const float *cs, uint32_t n_rot) {
    for (uint32_t i = 0; i < n_rot; i += 8) {
        __m256 v = load_first(x + i, n_rot - i);
        __m256 turn = load_first(cs + i, n_rot - i);  // cos, sin of 4 pairs
        __m256 other = _mm256_permute_ps(turn, 0xb1); // sin, cos
        __m256 rounded = _mm256_mul_ps(_mm256_movehdup_ps(v), other);
        v = _mm256_fmaddsub_ps(_mm256_moveldup_ps(v), turn, rounded);
        store_first(x + i, v, n_rot - i);
    }
}

// Pairs (i, i + n_rot / 2).
static void rotate_halves(float *x, const float *cs, uint32_t n_rot) {
    uint32_t n = n_rot / 2;
    float *x2 = x + n;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i);
        __m256 b = _mm256_loadu_ps(x2 + i);
        __m256 first = _mm256_loadu_ps(cs + 2 * i); // pairs 0..3, then 4..7
        __m256 second = _mm256_loadu_ps(cs + 2 * i + 8);
        __m256 even = _mm256_permute2f128_ps(first, second, 0x20); // pairs 0 1 | 4 5
        __m256 odd = _mm256_permute2f128_ps(first, second, 0x31);  // pairs 2 3 | 6 7
        __m256 c = _mm256_shuffle_ps(even, odd, 0x88);
        __m256 s = _mm256_shuffle_ps(even, odd, 0xdd);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x2 + i, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
    for (; i < n; i++) {
        float a = x[i];
        float b = x2[i];
        x[i] = fma_f32(a, cs[2 * i], -(b * cs[2 * i + 1]));
        x2[i] = fma_f32(a, cs[2 * i + 1], b * cs[2 * i]);
    }
}

void kllm_rope_f32_avx2(float *x, const float *cs, uint32_t n_head, uint32_t head_dim,
                        uint32_t n_rot, uint32_t pairing) {
    for (uint32_t h = 0; h < n_head; h++, x += head_dim) {
        if (pairing == KLLM_ROPE_ADJACENT) {
            rotate_adjacent(x, cs, n_rot);
        } else {
            rotate_halves(x, cs, n_rot);
        }
    }
}
