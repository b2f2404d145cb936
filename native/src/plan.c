// SPDX-License-Identifier: Apache-2.0
// The memory plan of a model, and the open call that lays it out in the caller's arena.
#include "context.h"
#include "layout.h"

_Static_assert(KLLM_R_COUNT == 16, "region_bytes fills every region");

// Bytes of each region. Factors are bounded by config_in_range and the image check: n_seq * n_layer *
// n_head_kv * block stays below 2^8 * 2^9 * 2^10 * 2^31 = 2^58, every other product below that.
static void region_bytes(uint64_t n_bytes[KLLM_R_COUNT], const struct kllm_image *m,
                         const struct kllm_config *config) {
    uint64_t n_batch = config->n_batch;
    uint64_t n_row = n_batch + config->n_thread; // those of a batch, then one of each thread
    uint64_t n_q = (uint64_t)m->n_head * m->head_dim;
    uint64_t n_kv = (uint64_t)m->n_head_kv * m->head_dim;
    struct kv_shape kv = kllm_kv_shape(config->kv_dtype, config->n_ctx, m->head_dim);

    n_bytes[KLLM_R_CTX] = sizeof(struct kllm_ctx);
    n_bytes[KLLM_R_SEQ] = (uint64_t)config->n_seq * 4;
    n_bytes[KLLM_R_HISTORY] = (uint64_t)config->n_seq * config->n_ctx * 4;
    n_bytes[KLLM_R_KV] =
        (uint64_t)config->n_seq * m->n_layer * m->n_head_kv * (kv.k_bytes + kv.v_bytes);
    n_bytes[KLLM_R_BATCH] = n_batch * sizeof(struct pass_token);
    n_bytes[KLLM_R_X] = n_batch * m->n_embd * 4;
    n_bytes[KLLM_R_NORM] = n_row * m->n_embd * 4;
    uint64_t n_qkv = n_q + 2 * n_kv; // or a product that is then added to the residual stream
    n_bytes[KLLM_R_QKV] = n_batch * (n_qkv > m->n_embd ? n_qkv : m->n_embd) * 4;
    n_bytes[KLLM_R_ATTN] = n_batch * n_q * 4;
    n_bytes[KLLM_R_FFN] = n_batch * ffn_stride(m) * 4;
    n_bytes[KLLM_R_ACT] = n_row * q8_bytes(widest(m));
    n_bytes[KLLM_R_OUTLIER] = n_row * KLLM_N_OUTLIER * sizeof(struct outlier);
    n_bytes[KLLM_R_COPY] = (uint64_t)config->n_thread * widest(m) * 4;
    n_bytes[KLLM_R_WORK] = config->n_thread * kllm_attention_work_bytes(m, config);
    n_bytes[KLLM_R_LOGITS] = (uint64_t)config->n_logits * m->n_vocab * 4;
    n_bytes[KLLM_R_SAMPLE] = (uint64_t)m->n_vocab * 8;
}

static int config_in_range(const struct kllm_image *m, const struct kllm_config *c) {
    return c->n_ctx >= 1 && c->n_ctx <= m->n_ctx_train && c->n_batch >= 1 &&
           c->n_batch <= KLLM_MAX_BATCH && c->n_seq >= 1 && c->n_seq <= KLLM_MAX_SEQ &&
           c->n_logits >= c->n_seq && c->n_logits <= KLLM_MAX_BATCH && c->n_thread >= 1 &&
           c->n_thread <= KLLM_MAX_THREAD && c->reserved == 0 &&
           (c->kv_dtype == KLLM_F32 || c->kv_dtype == KLLM_F16 || c->kv_dtype == KLLM_Q8_0);
}

int32_t kllm_plan(struct kllm_plan *plan, const void *image, const struct kllm_config *config) {
    if (!config_in_range(image, config)) {
        return KLLM_ERR_RANGE;
    }
    uint64_t n_bytes[KLLM_R_COUNT];
    region_bytes(n_bytes, image, config);
    uint64_t off = 0;
    for (uint32_t i = 0; i < KLLM_R_COUNT; i++) {
        plan->region[i] = (struct kllm_region){off, n_bytes[i]};
        off += align_up(n_bytes[i], KLLM_ALIGN);
    }
    plan->n_bytes = off;
    return KLLM_OK;
}

int32_t kllm_open(void *arena, uint64_t n_bytes, const void *image, uint64_t image_bytes,
                  const struct kllm_config *config) {
    uint64_t bad_off;
    int32_t status = kllm_image_check(image, image_bytes, &bad_off);
    if (status != KLLM_OK) {
        return status;
    }
    struct kllm_plan plan;
    status = kllm_plan(&plan, image, config);
    if (status != KLLM_OK) {
        return status;
    }
    uint32_t cpu = kllm_cpu();
    if (cpu == 0) {
        return KLLM_ERR_UNSUPPORTED;
    }
    if (n_bytes < plan.n_bytes) {
        return KLLM_ERR_SPACE;
    }
    struct kllm_ctx *ctx = arena;
    memset(ctx, 0, sizeof *ctx);
    ctx->abi = kllm_abi_version();
    ctx->header_crc = ((const struct kllm_image *)image)->header_crc;
    ctx->cpu = cpu & config->cpu;
    ctx->config = *config;
    ctx->plan = plan;
    memset(region(ctx, KLLM_R_SEQ), 0, plan.region[KLLM_R_SEQ].n_bytes);
    return KLLM_OK;
}

int64_t kllm_region_off(const void *arena, uint32_t idx) {
    const struct kllm_ctx *ctx = arena;
    return idx < KLLM_R_COUNT ? (int64_t)ctx->plan.region[idx].off : -1;
}

int32_t kllm_seq_length(const void *arena, uint32_t seq) {
    const struct kllm_ctx *ctx = arena;
    if (seq >= ctx->config.n_seq) {
        return KLLM_ERR_RANGE;
    }
    return (int32_t)((const uint32_t *)region(ctx, KLLM_R_SEQ))[seq];
}

int32_t kllm_seq_cut(void *arena, uint32_t seq, uint32_t n_token) {
    int32_t n_held = kllm_seq_length(arena, seq);
    if (n_held < 0 || n_token > (uint32_t)n_held) {
        return KLLM_ERR_RANGE;
    }
    ((uint32_t *)region(arena, KLLM_R_SEQ))[seq] = n_token;
    return KLLM_OK;
}
