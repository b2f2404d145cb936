// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"

void kllm_pick_f32_c(struct outlier *out, float *x, uint32_t n) {
    for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++) {
        float max = 0.0f;
        uint32_t col = 0;
        for (uint32_t i = 0; i < n; i++) {
            float a = __builtin_fabsf(x[i]);
            if (a > max) {
                max = a;
                col = i;
            }
        }
        out[k] = (struct outlier){max > 0.0f ? x[col] : 0.0f, col};
        if (max > 0.0f) {
            x[col] = 0.0f;
        }
    }
}
