// SPDX-License-Identifier: Apache-2.0
#include "../kernels.h"
#include "../layout.h"
#include "../libm.h"

void kllm_quantize_q8_f32_c(void *row, const float *x, uint32_t n) {
    int8_t *q = row;
    float *d = (float *)(void *)((uint8_t *)row + n);
    int32_t *sum = (int32_t *)(void *)((uint8_t *)row + n + n / 8);
    for (uint32_t b = 0; b < n / KLLM_QK; b++, x += KLLM_QK, q += KLLM_QK) {
        float amax = 0.0f;
        for (uint32_t i = 0; i < KLLM_QK; i++) {
            float a = __builtin_fabsf(x[i]);
            amax = a > amax ? a : amax;
        }
        float id = amax < KLLM_Q8_TINY ? 0.0f : 127.0f / amax;
        int32_t s = 0;
        for (uint32_t i = 0; i < KLLM_QK; i++) {
            // |x * id| <= 127.5, so adding KLLM_ROUND leaves the rounded integer in the low bits.
            q[i] = (int8_t)(bits_of_f32(x[i] * id + KLLM_ROUND) & 0xff);
            s += q[i];
        }
        d[b] = amax < KLLM_Q8_TINY ? 0.0f : amax / 127.0f;
        sum[b] = s;
    }
}
