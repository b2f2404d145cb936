// SPDX-License-Identifier: Apache-2.0
// Without branches that a CPU would have to guess: where the largest magnitudes stand differs from
// row to row, and each wrong guess costs as much as reading 16 vectors.
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "avx512.h"
#include "pick.h"

// Candidates that one register ranks; elements of a word of marks; words of marks, one of them for
// the end.
enum { N_KEY = 8, WORD = 64, MAX_WORD = 64 };

// Magnitudes of the first n of 16 floats, zeros behind.
KLLM_INLINE __m512 magnitudes(const float *x, uint32_t n) {
    return _mm512_abs_ps(_mm512_maskz_loadu_ps(first_lanes(n), x));
}

// Lane j: the largest magnitude of x[i], i = j mod 16. VMAXPS gives its second operand where one
// is NaN.
static __m512 largest_of_lanes(const float *x, uint32_t n) {
    __m512 max[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    uint32_t i = 0;
    for (; i + 64 <= n; i += 64) {
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            max[j] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i + 16 * j)), max[j]);
        }
    }
    for (; i < n; i += 16) {
        max[0] = _mm512_max_ps(magnitudes(x + i, n - i), max[0]);
    }
    return _mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3]));
}

KLLM_INLINE void exchange(__m128 *a, __m128 *b) {
    __m128 less = _mm_min_ps(*a, *b);
    *a = _mm_max_ps(*a, *b);
    *b = less;
}

// Joins the sorted columns of v with those of w, sorted too: the four largest of each pair.
KLLM_INLINE void join_sorted(__m128 v[4], const __m128 w[4]) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) { // falls, then rises
        v[i] = _mm_max_ps(v[i], w[3 - i]);
    }
}

// The fourth largest of 16 magnitudes: that many elements or more reach it.
KLLM_INLINE float fourth_largest(__m512 lanes) {
    __m128 v[4] = {_mm512_castps512_ps128(lanes), _mm512_extractf32x4_ps(lanes, 1),
                   _mm512_extractf32x4_ps(lanes, 2), _mm512_extractf32x4_ps(lanes, 3)};
    exchange(&v[0], &v[1]);
    exchange(&v[2], &v[3]);
    exchange(&v[0], &v[2]);
    exchange(&v[1], &v[3]);
    exchange(&v[1], &v[2]);
    __m128 w[4];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        w[i] = _mm_movehl_ps(v[i], v[i]);
    }
    join_sorted(v, w);
    exchange(&v[0], &v[2]);
    exchange(&v[1], &v[3]);
    exchange(&v[0], &v[1]);
    exchange(&v[2], &v[3]);
    KLLM_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        w[i] = _mm_movehdup_ps(v[i]);
    }
    join_sorted(v, w);
    return _mm_cvtss_f32(_mm_min_ss(_mm_min_ss(v[0], v[1]), _mm_min_ss(v[2], v[3])));
}

// Bit i % WORD of word i / WORD tells whether x[i] reaches the bound. Returns which words have
// bits.
static uint64_t mark(uint64_t words[MAX_WORD], const float *x, uint32_t n, __m512 bound) {
    uint64_t used = 0;
    uint32_t i = 0;
    for (; i + WORD <= n; i += WORD) {
        __mmask16 m[4];
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            m[j] = _mm512_cmp_ps_mask(_mm512_abs_ps(_mm512_loadu_ps(x + i + 16 * j)), bound,
                                      _CMP_GE_OQ);
        }
        uint64_t word = _mm512_kunpackd(_mm512_kunpackw(m[3], m[2]), _mm512_kunpackw(m[1], m[0]));
        words[i / WORD] = word;
        used |= (uint64_t)(word != 0) << (i / WORD);
    }
    if (i < n) {
        uint64_t word = 0;
        for (uint32_t j = 0; i + j < n; j += 16) {
            __m512 v = magnitudes(x + i + j, n - i - j);
            word |= (uint64_t)_mm512_cmp_ps_mask(v, bound, _CMP_GE_OQ) << j;
        }
        words[i / WORD] = word;
        used |= (uint64_t)(word != 0) << (i / WORD);
    }
    return used;
}

// Takes the largest of the marked elements, at most N_KEY, or returns 0.
static int take_ranked(struct outlier *out, float *x, uint32_t n, uint64_t words[MAX_WORD],
                       uint64_t used) {
    uint32_t n_word = (n + WORD - 1) / WORD;
    words[n_word] = ~(uint64_t)0; // what stands for no more
    used |= (uint64_t)1 << n_word;
    // Numbers that rank as the elements do: by magnitude, then the lower column first.
    struct outlier found[N_KEY];
    uint64_t key[N_KEY];
    KLLM_UNROLL
    for (uint32_t k = 0; k < N_KEY; k++) {
        uint32_t i = (uint32_t)__builtin_ctzll(used);
        uint64_t word = words[i];
        uint32_t col = i * WORD + (uint32_t)__builtin_ctzll(word);
        uint64_t rest = word & (word - 1);
        words[i] = rest;
        used = rest == 0 ? used & (used - 1) : used;
        int is_there = i < n_word;
        col = is_there ? col : 0;
        float v = is_there ? x[col] : 0.0f;
        found[k] = (struct outlier){v, col};
        key[k] = is_there ? (uint64_t)bits_of_f32(__builtin_fabsf(v)) << 32 | (uint32_t)~col : 0;
    }
    if ((uint32_t)__builtin_ctzll(used) < n_word) {
        return 0;
    }
    struct outlier ranked[N_KEY] = {{0.0f, 0}};
    __m512i keys =
        _mm512_setr_epi64((int64_t)key[0], (int64_t)key[1], (int64_t)key[2], (int64_t)key[3],
                          (int64_t)key[4], (int64_t)key[5], (int64_t)key[6], (int64_t)key[7]);
    KLLM_UNROLL
    for (uint32_t k = 0; k < N_KEY; k++) {
        __mmask8 above = _mm512_cmpgt_epu64_mask(keys, _mm512_set1_epi64((int64_t)key[k]));
        ranked[__builtin_popcount(above)] = found[k];
    }
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        out[k] = ranked[k];
        if (out[k].x != 0.0f) {
            x[out[k].col] = 0.0f;
        }
    }
    return 1;
}

// Any number of candidates: so many have about the same magnitude.
static void take_sorted(struct outlier *out, float *x, uint32_t n, __m512 bound) {
    struct taken taken = {0};
    for (uint32_t i = 0; i < n; i += 16) {
        take(&taken, x, i, _mm512_cmp_ps_mask(magnitudes(x + i, n - i), bound, _CMP_GE_OQ));
    }
    finish(&taken, out, x);
}

void kllm_pick_f32_avx512vnni(struct outlier *out, float *x, uint32_t n) {
    // Zeros are never taken, so a bound of 0 becomes the least number above it.
    __m512 bound = _mm512_set1_ps(at_least_tiny(fourth_largest(largest_of_lanes(x, n))));
    uint64_t words[MAX_WORD];
    if (n > (MAX_WORD - 1) * WORD || !take_ranked(out, x, n, words, mark(words, x, n, bound))) {
        take_sorted(out, x, n, bound);
    }
}
