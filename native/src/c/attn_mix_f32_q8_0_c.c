// SPDX-License-Identifier: Apache-2.0
#include "../f16.h"
#include "../kernels.h"
#include "../layout.h"

// Quantises w[t] = p[t] * dv[t * n_channel_block], padded with zeros to whole blocks, to a "q8" row.
static void quantize_weights(void *row, const float *p, const uint16_t *dv, uint32_t n_pos,
                             uint32_t n_channel_block) {
    uint32_t n = (uint32_t)align_up(n_pos, KLLM_QK);
    for (uint32_t b = 0; b < n / KLLM_QK; b++) {
        float w[KLLM_QK] = {0};
        struct {
            int8_t q[KLLM_QK];
            float d;
            int32_t sum;
        } block;
        for (uint32_t i = 0; i < min_u32(KLLM_QK, n_pos - b * KLLM_QK); i++) {
            uint32_t t = b * KLLM_QK + i;
            w[i] = p[t] * f32_of_f16(dv[(uint64_t)t * n_channel_block]);
        }
        kllm_quantize_q8_f32_c(&block, w, KLLM_QK);
        memcpy((int8_t *)row + b * KLLM_QK, block.q, KLLM_QK);
        ((float *)(void *)((uint8_t *)row + n))[b] = block.d;
    }
}

void kllm_attn_mix_f32_q8_0_c(float *out, const float *p, const void *v, uint32_t n_pos,
                              uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t n_ctx,
                              void *work) {
    uint32_t n_block = (n_pos + KLLM_QK - 1) / KLLM_QK;
    const int8_t *values = v;
    const uint16_t *dv =
        (const uint16_t *)(const void *)((const uint8_t *)v + v_q8_scale_off(n_ctx, n));
    for (uint32_t h = 0; h < n_head; h++, p += p_stride, out += n) {
        for (uint32_t d = 0; d < n; d++) {
            if (d % KLLM_QK == 0) {
                quantize_weights(work, p, dv + d / KLLM_QK, n_pos, n / KLLM_QK);
            }
            struct q8_row weight = q8_row_of(work, 0, n_block * KLLM_QK);
            float acc = 0.0f;
            for (uint32_t b = 0; b < n_block; b++) {
                int32_t s = 0; // |s| <= 32 * 127 * 127
                for (uint32_t t = b * KLLM_QK; t < (b + 1) * KLLM_QK; t++) {
                    s += weight.q[t] * values[v_q8_quant_off(t, d, n)];
                }
                acc = fma_f32((float)s, weight.d[b], acc);
            }
            out[d] = acc;
        }
    }
}
