// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "../layout.h"
#include "avx512.h"

// Four blocks at a time, so that what is done once for a block is done for four at once. First all
// scales, then all quants: the chain from maximum to sum is longer than a CPU looks ahead.
enum { N_BLOCK = 4 };

// One step of four reductions: the lanes of a pair of vectors, halved and joined.
KLLM_INLINE __m128 max_pair(__m128 a, __m128 b, uint32_t step) {
    return step == 0 ? _mm_max_ps(_mm_shuffle_ps(a, b, 0x44), _mm_shuffle_ps(a, b, 0xee))
                     : _mm_max_ps(_mm_shuffle_ps(a, b, 0x88), _mm_shuffle_ps(a, b, 0xdd));
}

KLLM_INLINE __m128i add_pair(__m128i a, __m128i b, uint32_t step) {
    __m128 x = _mm_castsi128_ps(a);
    __m128 y = _mm_castsi128_ps(b);
    __m128 first = step == 0 ? _mm_shuffle_ps(x, y, 0x44) : _mm_shuffle_ps(x, y, 0x88);
    __m128 second = step == 0 ? _mm_shuffle_ps(x, y, 0xee) : _mm_shuffle_ps(x, y, 0xdd);
    return _mm_add_epi32(_mm_castps_si128(first), _mm_castps_si128(second));
}

// Lane b: the largest magnitude of block b; NaN counts as absent.
KLLM_INLINE __m128 largest(__m512 v[][2]) {
    __m128 m[N_BLOCK];
    KLLM_UNROLL
    for (uint32_t b = 0; b < N_BLOCK; b++) {
        __m512 max = _mm512_max_ps(_mm512_abs_ps(v[b][0]), _mm512_setzero_ps());
        max = _mm512_max_ps(_mm512_abs_ps(v[b][1]), max);
        __m256 a = _mm256_max_ps(_mm512_castps512_ps256(max), _mm512_extractf32x8_ps(max, 1));
        m[b] = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    }
    return max_pair(max_pair(m[0], m[1], 0), max_pair(m[2], m[3], 0), 1);
}

// Lane b: the sum of the 32 quants of block b.
KLLM_INLINE __m128i sums_of(const __m256i q[N_BLOCK]) {
    __m128i s[N_BLOCK];
    KLLM_UNROLL
    for (uint32_t b = 0; b < N_BLOCK; b++) {
        __m256i a = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q[b]);
        a = _mm256_madd_epi16(a, _mm256_set1_epi16(1));
        s[b] = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    }
    return add_pair(add_pair(s[0], s[1], 0), add_pair(s[2], s[3], 0), 1);
}

// Stores n of four lanes. What a masked store wrote is read back late.
KLLM_INLINE void store_lanes(void *to, __m128 v, uint32_t n) {
    if (n == N_BLOCK) {
        _mm_storeu_ps(to, v);
    } else {
        _mm_mask_storeu_ps(to, (__mmask8)((1u << n) - 1), v);
    }
}

// Sets the scales of n of four blocks and their inverses, the others counting as zeros.
KLLM_INLINE void scale_blocks(float *d, float *id, const float *x, uint32_t n) {
    __m512 v[N_BLOCK][2];
    KLLM_UNROLL
    for (uint32_t b = 0; b < N_BLOCK; b++) {
        __mmask16 valid = b < n ? 0xffff : 0;
        v[b][0] = _mm512_maskz_loadu_ps(valid, x + b * KLLM_QK);
        v[b][1] = _mm512_maskz_loadu_ps(valid, x + b * KLLM_QK + 16);
    }
    __m128 amax = largest(v);
    __mmask8 used = _mm_cmp_ps_mask(amax, _mm_set1_ps(KLLM_Q8_TINY), _CMP_NLT_UQ);
    const __m128 limit = _mm_set1_ps(127.0f);
    store_lanes(d, _mm_maskz_div_ps(used, amax, limit), n);
    store_lanes(id, _mm_maskz_div_ps(used, limit, amax), n);
}

// Quantises n of four blocks by the inverses of their scales.
KLLM_INLINE void quantize_blocks(int8_t *q, int32_t *sum, const float *x, const float *id,
                                 uint32_t n) {
    __m256i bytes[N_BLOCK];
    KLLM_UNROLL
    for (uint32_t b = 0; b < N_BLOCK; b++) {
        __mmask16 valid = b < n ? 0xffff : 0;
        __m512 scale = _mm512_set1_ps(b < n ? id[b] : 0.0f);
        __m128i half[2];
        KLLM_UNROLL
        for (uint32_t i = 0; i < 2; i++) {
            // |x * id| <= 127.5, so adding KLLM_ROUND leaves the rounded integer in the low bits.
            __m512 v = _mm512_maskz_loadu_ps(valid, x + b * KLLM_QK + 16 * i);
            v = _mm512_add_ps(_mm512_mul_ps(v, scale), _mm512_set1_ps(KLLM_ROUND));
            half[i] = _mm512_cvtepi32_epi8(_mm512_castps_si512(v));
        }
        bytes[b] = _mm256_set_m128i(half[1], half[0]);
        if (b < n) {
            _mm256_storeu_si256((__m256i *)(void *)(q + b * KLLM_QK), bytes[b]);
        }
    }
    store_lanes(sum, _mm_castsi128_ps(sums_of(bytes)), n);
}

void kllm_quantize_q8_f32_avx512vnni(void *row, const float *x, uint32_t n) {
    int8_t *q = row;
    float *d = (float *)(void *)((uint8_t *)row + n);
    int32_t *sum = (int32_t *)(void *)((uint8_t *)row + n + n / 8);
    float *id = (float *)(void *)sum; // until the sums are known
    uint32_t n_block = n / KLLM_QK;
    uint32_t b = 0;
    for (; b + N_BLOCK <= n_block; b += N_BLOCK) {
        scale_blocks(d + b, id + b, x + b * KLLM_QK, N_BLOCK);
    }
    if (b < n_block) {
        scale_blocks(d + b, id + b, x + b * KLLM_QK, n_block - b);
    }
    for (b = 0; b + N_BLOCK <= n_block; b += N_BLOCK) {
        quantize_blocks(q + b * KLLM_QK, sum + b, x + b * KLLM_QK, id + b, N_BLOCK);
    }
    if (b < n_block) {
        quantize_blocks(q + b * KLLM_QK, sum + b, x + b * KLLM_QK, id + b, n_block - b);
    }
}
