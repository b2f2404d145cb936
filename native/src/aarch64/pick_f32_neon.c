// SPDX-License-Identifier: Apache-2.0
#include "neon.h"

enum { N_PART = 32 }; // of a row, at most

// The largest magnitude of x[n], 0 for none. FMAXNM passes over a NaN.
static float largest(const float *x, uint32_t n) {
    struct lanes max = lanes_zero();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        struct lanes a = lanes_load(x + i);
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            max.v[j] = vmaxnmq_f32(max.v[j], vabsq_f32(a.v[j]));
        }
    }
    float32x4_t all =
        vmaxnmq_f32(vmaxnmq_f32(max.v[0], max.v[1]), vmaxnmq_f32(max.v[2], max.v[3]));
    float most = vmaxnmvq_f32(all);
    for (; i < n; i++) {
        float a = __builtin_fabsf(x[i]);
        most = a > most ? a : most;
    }
    return most;
}

static uint32_t first_of_magnitude(const float *x, uint32_t n, float magnitude) {
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        struct lanes a = lanes_load(x + i);
        uint32x4_t any = vdupq_n_u32(0);
        KLLM_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            any = vorrq_u32(any, vceqq_f32(vabsq_f32(a.v[j]), vdupq_n_f32(magnitude)));
        }
        if (vmaxvq_u32(any) != 0) {
            break;
        }
    }
    while (__builtin_fabsf(x[i]) != magnitude) {
        i++;
    }
    return i;
}

// The row is cut into parts, whose largest magnitudes are found once: an outlier is then searched in
// its own part only.
void kllm_pick_f32_neon(struct outlier *out, float *x, uint32_t n) {
    float most[N_PART];
    uint32_t n_each = (uint32_t)align_up(n / N_PART + 1, 16);
    uint32_t n_part = 0;
    for (uint32_t i = 0; i < n; i += n_each) {
        most[n_part++] = largest(x + i, min_u32(n_each, n - i));
    }
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        float max = largest(most, n_part);
        out[k] = (struct outlier){0.0f, 0};
        if (max > 0.0f) {
            uint32_t part = first_of_magnitude(most, n_part, max);
            uint32_t start = part * n_each;
            uint32_t col = start + first_of_magnitude(x + start, n - start, max);
            out[k] = (struct outlier){x[col], col};
            x[col] = 0.0f;
            most[part] = largest(x + start, min_u32(n_each, n - start));
        }
    }
}
