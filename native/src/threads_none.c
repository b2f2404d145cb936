// SPDX-License-Identifier: Apache-2.0
// The team of a build without threads: the caller alone.
#include "context.h"

int32_t kllm_team_start(void *arena) {
    const struct kllm_ctx *ctx = arena;
    return ctx->config.n_thread == 1 ? KLLM_OK : KLLM_ERR_UNSUPPORTED;
}

void kllm_team_stop(void *arena) {
    (void)arena;
}

void kllm_team_run(struct kllm_ctx *ctx, const struct kllm_image *image) {
    kllm_pass(ctx, image, 0);
}

void kllm_team_barrier(struct kllm_ctx *ctx) {
    (void)ctx;
}
