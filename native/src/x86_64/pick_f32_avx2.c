// SPDX-License-Identifier: Apache-2.0
#include "avx2.h"

static __m256 magnitudes(const float *x, uint32_t n) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), load_first(x, n));
}

// The largest magnitude of x[n], 0 for none. VMAXPS gives its second operand where one is NaN.
static float largest(const float *x, uint32_t n) {
    __m256 max[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (uint32_t j = 0; j < 4; j++) {
            max[j] = _mm256_max_ps(magnitudes(x + i + 8 * j, 8), max[j]);
        }
    }
    for (; i < n; i += 8) {
        max[0] = _mm256_max_ps(magnitudes(x + i, n - i), max[0]);
    }
    max[0] = _mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3]));
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max[0]), _mm256_extractf128_ps(max[0], 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static uint32_t first_of_magnitude(const float *x, uint32_t n, float magnitude) {
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 same =
            _mm256_cmp_ps(magnitudes(x + i, n - i), _mm256_set1_ps(magnitude), _CMP_EQ_OQ);
        int32_t mask = _mm256_movemask_ps(same);
        if (mask != 0) {
            return i + (uint32_t)__builtin_ctz((uint32_t)mask);
        }
    }
    return 0;
}

void kllm_pick_f32_avx2(struct outlier *out, float *x, uint32_t n) {
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        float max = largest(x, n);
        if (max > 0.0f) {
            uint32_t col = first_of_magnitude(x, n, max);
            out[k] = (struct outlier){x[col], col};
            x[col] = 0.0f;
        } else {
            out[k] = (struct outlier){0.0f, 0};
        }
    }
}
