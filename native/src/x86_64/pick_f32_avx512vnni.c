// SPDX-License-Identifier: Apache-2.0
#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file needs AVX-512 BW, DQ and VL"
#endif
#include "avx512.h"
#include "pick.h"

enum { N_KEY = 8 }; // candidates that one register ranks

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

// A magnitude that KLLM_N_OUTLIER elements or more reach: the fourth largest of 16 maxima. Equal
// ones are taken away together, which can only make it smaller.
static float reached_by_enough(__m512 lanes) {
    float max = 0.0f;
    for (uint32_t i = 0; i < KLLM_N_OUTLIER; i++) {
        max = max_lanes(lanes);
        __mmask16 less = _mm512_cmp_ps_mask(lanes, _mm512_set1_ps(max), _CMP_LT_OQ);
        lanes = _mm512_maskz_mov_ps(less, lanes);
    }
    return max;
}

// Candidates as numbers that rank as they do: by magnitude, then the lower column first. Only the
// first N_KEY are kept; returns how many there are.
static uint32_t collect(uint64_t key[N_KEY], const float *x, uint32_t n, __m512 bound) {
    uint32_t n_key = 0;
    for (uint32_t i = 0; i < n; i += 16) {
        uint32_t found = _mm512_cmp_ps_mask(magnitudes(x + i, n - i), bound, _CMP_GE_OQ);
        for (; found != 0; found &= found - 1, n_key++) {
            uint32_t col = i + (uint32_t)__builtin_ctz(found);
            if (n_key < N_KEY) {
                key[n_key] = (uint64_t)bits_of_f32(__builtin_fabsf(x[col])) << 32 | (uint32_t)~col;
            }
        }
    }
    return n_key;
}

// Takes the first of n candidates, without a branch that a CPU would have to guess: the place of
// each is the number of those above it.
static void take_ranked(struct outlier *out, float *x, const uint64_t key[N_KEY], uint32_t n) {
    struct outlier ranked[N_KEY] = {{0.0f, 0}};
    __m512i keys = _mm512_maskz_loadu_epi64((__mmask8)((1u << n) - 1), key);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t col = ~(uint32_t)key[i];
        __mmask8 above = _mm512_cmpgt_epu64_mask(keys, _mm512_set1_epi64((int64_t)key[i]));
        ranked[__builtin_popcount(above)] = (struct outlier){x[col], col};
    }
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        out[k] = ranked[k];
        if (k < n) {
            x[out[k].col] = 0.0f;
        }
    }
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
    __m512 bound = _mm512_set1_ps(at_least_tiny(reached_by_enough(largest_of_lanes(x, n))));
    uint64_t key[N_KEY];
    uint32_t n_key = collect(key, x, n, bound);
    if (n_key <= N_KEY) {
        take_ranked(out, x, key, n_key);
    } else {
        take_sorted(out, x, n, bound);
    }
}
