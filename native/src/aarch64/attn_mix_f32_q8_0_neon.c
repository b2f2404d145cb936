// SPDX-License-Identifier: Apache-2.0
#include "attn_mix_q8_0_neon.h"
#include "matmul_neon.h"

// Eight channels from d on: the V cache is a matrix of one row a channel in 4-position chunks, so
// the block sums are those of a q8_0 matrix with chunks of 4 n bytes.
static void mix_channels(float *out, const int8_t *q, const float *dw, const int8_t *v,
                         uint32_t n_block, uint32_t n) {
    float32x4_t acc[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
    for (uint32_t b = 0; b < n_block; b++) {
        struct weights w;
        KLLM_UNROLL
        for (uint32_t g = 0; g < 8; g++, v += 4 * (uint64_t)n) {
            w.w[g][0] = vld1q_s8(v);
            w.w[g][1] = vld1q_s8(v + 16);
        }
        struct piece p = load_piece(q + b * KLLM_QK);
        struct sums s = sum_bytes(&w, &p);
        float32x4_t d = vld1q_dup_f32(dw + b);
        acc[0] = vfmaq_f32(acc[0], vcvtq_f32_s32(s.s[0]), d);
        acc[1] = vfmaq_f32(acc[1], vcvtq_f32_s32(s.s[1]), d);
    }
    vst1q_f32(out, acc[0]);
    vst1q_f32(out + 4, acc[1]);
}

void kllm_attn_mix_f32_q8_0_neon(float *out, const float *p, const void *v, uint32_t n_pos,
                                 uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t n_ctx,
                                 void *work) {
    uint32_t n_block = (n_pos + KLLM_QK - 1) / KLLM_QK;
    const uint16_t *dv = value_scales(v, n_ctx, n);
    const int8_t *q = work;
    const float *dw = (const float *)(const void *)(q + n_block * KLLM_QK);
    for (uint32_t h = 0; h < n_head; h++, p += p_stride, out += n) {
        for (uint32_t d = 0; d < n; d += TILE_ROWS) {
            if (d % KLLM_QK == 0) {
                quantize_weights(work, p, dv + d / KLLM_QK, n_pos, n / KLLM_QK);
            }
            mix_channels(out + d, q, dw, (const int8_t *)v + d * 4, n_block, n);
        }
    }
}
