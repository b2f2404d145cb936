// SPDX-License-Identifier: Apache-2.0
// The bounds that prove_plan.c assumes of the sizes of attention.
#include "attention.c"
#include "image.c"
#include "proof.h"

void prove_kv_shape(void) {
    uint32_t dtype = any_u32(), n_ctx = any_u32(), head_dim = any_u32();
    assume(n_ctx <= KLLM_MAX_CTX && head_dim <= KLLM_MAX_HEAD_DIM);
    struct kv_shape kv = kllm_kv_shape(dtype, n_ctx, head_dim);
    prove(kv.k_bytes <= (uint64_t)1 << 32 && kv.v_bytes <= (uint64_t)1 << 32,
          "keys and values of a head are below the bound");
}

void prove_work(void) {
    struct kllm_image m;
    struct kllm_config config;
    assume(config.n_ctx <= KLLM_MAX_CTX && config.n_batch <= KLLM_MAX_BATCH &&
           m.head_dim <= KLLM_MAX_HEAD_DIM && m.n_head_kv >= 1 && m.n_head <= KLLM_MAX_HEAD);
    prove(kllm_attention_work_bytes(&m, &config) <= (uint64_t)1 << 36,
          "the work space of a thread is below the bound");
}
