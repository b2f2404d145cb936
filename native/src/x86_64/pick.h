// SPDX-License-Identifier: Apache-2.0
// Keeps the largest magnitudes among candidates that come in the order of their columns.
#ifndef KLLM_PICK_H
#define KLLM_PICK_H

#include "../kernels.h"

struct taken {
    struct outlier list[KLLM_N_OUTLIER]; // largest first, of equals the first seen
    uint32_t n;
};

/// Returns bound, or the least number above 0.
KLLM_INLINE float at_least_tiny(float bound) {
    return bound > 0.0f ? bound : 0x1p-149f;
}

KLLM_INLINE void insert(struct taken *taken, struct outlier element) {
    uint32_t at = taken->n;
    while (at > 0 && __builtin_fabsf(element.x) > __builtin_fabsf(taken->list[at - 1].x)) {
        at--;
    }
    if (at == KLLM_N_OUTLIER) {
        return;
    }
    taken->n = min_u32(taken->n + 1, KLLM_N_OUTLIER);
    for (uint32_t i = taken->n - 1; i > at; i--) {
        taken->list[i] = taken->list[i - 1];
    }
    taken->list[at] = element;
}

/// Considers x[i + k] for each bit k of found.
KLLM_INLINE void take(struct taken *taken, const float *x, uint32_t i, uint32_t found) {
    for (; found != 0; found &= found - 1) {
        uint32_t col = i + (uint32_t)__builtin_ctz(found);
        insert(taken, (struct outlier){x[col], col});
    }
}

/// Writes what was taken to out and leaves 0 in its places.
KLLM_INLINE void finish(const struct taken *taken, struct outlier *out, float *x) {
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        out[k] = k < taken->n ? taken->list[k] : (struct outlier){0.0f, 0};
        if (k < taken->n) {
            x[out[k].col] = 0.0f;
        }
    }
}

#endif
