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

int kllm_team_next(struct kllm_ctx *ctx, uint32_t thread, struct turn *turn, uint32_t n_part) {
    (void)ctx;
    (void)thread;
    (void)n_part;
    turn->held ^= 1;
    return (int)turn->held;
}
