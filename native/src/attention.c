// SPDX-License-Identifier: Apache-2.0
// The KV cache and attention over it, one KV head at a time.
#include "context.h"
#include "f16.h"
#include "layout.h"

struct kv_shape kllm_kv_shape(uint32_t dtype, uint32_t n_ctx, uint32_t head_dim) {
    if (dtype == KLLM_Q8_0) {
        uint64_t scales = (uint64_t)n_ctx * (head_dim / KLLM_QK) * 2;
        return (struct kv_shape){
            kllm_tensor_bytes(KLLM_Q8_0, n_ctx, head_dim),
            align_up(v_q8_scale_off(n_ctx, head_dim) + scales, KLLM_ALIGN),
        };
    }
    uint64_t n_bytes = (uint64_t)n_ctx * head_dim * (dtype == KLLM_F16 ? 2 : 4);
    return (struct kv_shape){n_bytes, n_bytes};
}

// Scores of a query lie side by side; the odd line between two keeps them out of each other's
// cache sets where the positions are a power of two.
static uint32_t scores_stride(uint32_t n_pos) {
    return (uint32_t)align_up(n_pos, KLLM_GROUP) + KLLM_GROUP;
}

// Work space of a thread: the scores of the queries that share a KV head, then the queries
// themselves or, later, a row of quantised weights.
static uint64_t scores_bytes(uint32_t n_query, uint32_t n_pos) {
    return align_up((uint64_t)n_query * scores_stride(n_pos) * 4, KLLM_ALIGN);
}

uint64_t kllm_attention_work_bytes(const struct kllm_image *m, const struct kllm_config *config) {
    uint32_t n_query = m->n_head / m->n_head_kv * min_u32(config->n_batch, KLLM_ATTN_TOKENS);
    uint64_t query_rows = (uint64_t)n_query * m->head_dim * 4; // as floats, more than quantised
    uint64_t weight_row = q8_bytes((uint32_t)align_up(config->n_ctx, KLLM_QK));
    return scores_bytes(n_query, config->n_ctx) + align_up(query_rows, KLLM_ALIGN) + weight_row;
}

// Start of the keys of one head; its values lie k_bytes behind.
static uint8_t *head_cache(const struct kllm_ctx *ctx, const struct kllm_image *m,
                           struct kv_shape kv, uint32_t seq, uint32_t layer, uint32_t head_kv) {
    uint64_t head = ((uint64_t)seq * m->n_layer + layer) * m->n_head_kv + head_kv;
    return (uint8_t *)region(ctx, KLLM_R_KV) + head * (kv.k_bytes + kv.v_bytes);
}

static void append_q8_0(uint8_t *keys, uint8_t *values, const struct kllm_kernels *kernels,
                        const float *k, const float *v, uint32_t pos, uint32_t n, uint32_t n_ctx,
                        void *work) {
    struct q8_row row = q8_row_of(work, 0, n);
    kernels->quantize_q8_f32(work, k, n);
    uint8_t *group = keys + pos / KLLM_GROUP * group_bytes_q8_0(n);
    uint16_t *dk = (uint16_t *)(void *)(group + n / KLLM_QK * KLLM_Q8_BLOCK);
    for (uint32_t i = 0; i < n; i += 4) {
        memcpy(group + i / 4 * KLLM_CHUNK + pos % KLLM_GROUP * 4, row.q + i, 4);
    }
    for (uint32_t b = 0; b < n / KLLM_QK; b++) {
        dk[b * KLLM_GROUP + pos % KLLM_GROUP] = f16_of_f32(row.d[b]);
    }
    kernels->quantize_q8_f32(work, v, n);
    uint16_t *dv = (uint16_t *)(void *)(values + v_q8_scale_off(n_ctx, n));
    for (uint32_t i = 0; i < n; i++) {
        values[v_q8_quant_off(pos, i, n)] = (uint8_t)row.q[i];
    }
    for (uint32_t b = 0; b < n / KLLM_QK; b++) {
        dv[(uint64_t)pos * (n / KLLM_QK) + b] = f16_of_f32(row.d[b]);
    }
}

void kllm_attention_append(struct kllm_ctx *ctx, const struct kllm_image *m,
                           const struct kllm_kernels *kernels, uint32_t layer, uint32_t token,
                           uint32_t head_kv, void *work) {
    const struct pass_token *t = (const struct pass_token *)region(ctx, KLLM_R_BATCH) + token;
    uint32_t n = m->head_dim;
    uint32_t n_group = m->n_head / m->n_head_kv;
    uint32_t n_qkv = (m->n_head + 2 * m->n_head_kv) * n;
    float *q = (float *)region(ctx, KLLM_R_QKV) + (uint64_t)token * n_qkv;
    float *k = q + (m->n_head + head_kv) * n;
    float *v = k + m->n_head_kv * n;
    if (m->rope != KLLM_ROPE_NONE) {
        const float *cs = tensor_data(m, tensor_table(m) + KLLM_T_ROPE);
        cs += (uint64_t)t->pos * m->n_rot;
        kernels->rope_f32(q + head_kv * n_group * n, cs, n_group, n, m->n_rot, m->rope);
        kernels->rope_f32(k, cs, 1, n, m->n_rot, m->rope);
    }
    struct kv_shape kv = kllm_kv_shape(ctx->config.kv_dtype, ctx->config.n_ctx, n);
    uint8_t *keys = head_cache(ctx, m, kv, t->seq, layer, head_kv);
    uint8_t *values = keys + kv.k_bytes;
    uint64_t first = (uint64_t)t->pos * n;
    switch (ctx->config.kv_dtype) {
    case KLLM_F32:
        memcpy((float *)(void *)keys + first, k, n * sizeof *k);
        memcpy((float *)(void *)values + first, v, n * sizeof *v);
        break;
    case KLLM_F16:
        kernels->quantize_f16_f32((uint16_t *)(void *)keys + first, k, n);
        kernels->quantize_f16_f32((uint16_t *)(void *)values + first, v, n);
        break;
    default:
        append_q8_0(keys, values, kernels, k, v, t->pos, n, ctx->config.n_ctx, work);
        break;
    }
}

// Makes the queries of a part rows of the kernel of scores: quantised, or floats end to end.
static const void *query_rows(const struct kllm_ctx *ctx, const struct kllm_kernels *kernels,
                              const float *q, uint32_t n_qkv, uint32_t n,
                              struct attention_part part, uint8_t *rows) {
    if (ctx->config.kv_dtype == KLLM_Q8_0) {
        for (uint32_t i = 0; i < part.n_token * part.n_head; i++) {
            kernels->quantize_q8_f32(rows + i * q8_bytes(n),
                                     q + (uint64_t)(i / part.n_head) * n_qkv + i % part.n_head * n,
                                     n);
        }
        return rows;
    }
    if (part.n_token == 1) {
        return q;
    }
    uint64_t n_bytes = (uint64_t)part.n_head * n * sizeof *q;
    for (uint32_t t = 0; t < part.n_token; t++) {
        memcpy(rows + t * n_bytes, q + (uint64_t)t * n_qkv, n_bytes);
    }
    return rows;
}

void kllm_attention(struct kllm_ctx *ctx, const struct kllm_image *m,
                    const struct kllm_kernels *kernels, uint32_t layer, struct attention_part part,
                    void *work) {
    const struct pass_token *t = (const struct pass_token *)region(ctx, KLLM_R_BATCH) + part.token;
    uint32_t n = m->head_dim;
    uint32_t n_ctx = ctx->config.n_ctx;
    uint32_t n_pos = t->pos + part.n_token; // of the last token
    uint32_t n_query = part.n_token * part.n_head;
    uint32_t stride = scores_stride(n_pos);
    uint32_t n_qkv = (m->n_head + 2 * m->n_head_kv) * n;
    const float *q = (const float *)region(ctx, KLLM_R_QKV) + (uint64_t)part.token * n_qkv;
    float *out =
        (float *)region(ctx, KLLM_R_ATTN) + ((uint64_t)part.token * m->n_head + part.head) * n;
    float *scores = work;
    uint8_t *rows = (uint8_t *)work + scores_bytes(n_query, n_pos);
    struct kv_shape kv = kllm_kv_shape(ctx->config.kv_dtype, n_ctx, n);
    const uint8_t *keys =
        head_cache(ctx, m, kv, t->seq, layer, part.head / (m->n_head / m->n_head_kv));
    const uint8_t *values = keys + kv.k_bytes;

    kllm_matmul_fn *score = kernels->matmul_f32;
    kllm_attn_mix_fn *mix = kernels->attn_mix_f32;
    if (ctx->config.kv_dtype == KLLM_F16) {
        score = kernels->matmul_f32_f16;
        mix = kernels->attn_mix_f32_f16;
    } else if (ctx->config.kv_dtype == KLLM_Q8_0) {
        score = kernels->matmul_f32_q8_0_q8;
        mix = kernels->attn_mix_f32_q8_0;
    }
    // Scores past a token's own position, which others of the part have, are never looked at.
    score(scores, keys, query_rows(ctx, kernels, q + part.head * n, n_qkv, n, part, rows), n_pos,
          n, n_query, stride);
    n_pos = t->pos + 1;
    for (uint32_t i = 0; i < part.n_token; i++, n_pos++) {
        for (uint32_t h = 0; h < part.n_head; h++) {
            kernels->softmax_f32(scores + (uint64_t)h * stride, n_pos, m->attn_scale);
        }
        mix(out, scores, values, n_pos, n, part.n_head, stride, n_ctx, rows);
        scores += (uint64_t)part.n_head * stride;
        out += m->n_head * n;
    }
}
