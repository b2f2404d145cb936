// SPDX-License-Identifier: Apache-2.0
// The memory plan, for every accepted header and every configuration: no size wraps, regions are
// aligned and lie one behind the other inside the arena.
#include "plan.c"
#include "proof.h"

// Replaced by upper bounds, which prove_attention.c proves: together they are too much for the solver.
struct kv_shape kllm_kv_shape(uint32_t dtype, uint32_t n_ctx, uint32_t head_dim) {
    (void)dtype, (void)n_ctx, (void)head_dim;
    struct kv_shape kv;
    assume(kv.k_bytes <= (uint64_t)1 << 32 && kv.v_bytes <= (uint64_t)1 << 32);
    return kv;
}

uint64_t kllm_attention_work_bytes(const struct kllm_image *image,
                                   const struct kllm_config *config) {
    (void)image, (void)config;
    uint64_t n_bytes = any_u64();
    assume(n_bytes <= (uint64_t)1 << 36);
    return n_bytes;
}

void prove_plan(void) {
    struct kllm_image m;
    struct kllm_config config;
    struct kllm_plan plan;
    assume(m.n_layer <= KLLM_MAX_LAYER && m.n_embd <= KLLM_MAX_EMBD && m.n_ff <= KLLM_MAX_FF &&
           m.n_head <= KLLM_MAX_HEAD && m.n_head_kv <= m.n_head &&
           m.head_dim <= KLLM_MAX_HEAD_DIM && m.n_head * m.head_dim <= KLLM_MAX_FF &&
           m.n_vocab <= KLLM_MAX_VOCAB && m.n_ctx_train <= KLLM_MAX_CTX);
    if (kllm_plan(&plan, &m, &config) != KLLM_OK) {
        return;
    }
    wide end = 0;
    for (uint32_t i = 0; i < KLLM_R_COUNT; i++) {
        prove(plan.region[i].off == end && end % KLLM_ALIGN == 0, "regions lie end to end");
        end += ((wide)plan.region[i].n_bytes + KLLM_ALIGN - 1) / KLLM_ALIGN * KLLM_ALIGN;
    }
    prove(plan.n_bytes == end && end <= INT64_MAX, "the arena holds them all");
}
