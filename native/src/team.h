// SPDX-License-Identifier: Apache-2.0
// The threads that run a pass together: state, and the two calls that differ between builds.
#ifndef KLLM_TEAM_H
#define KLLM_TEAM_H

#include "base.h"

struct kllm_ctx;

// Lives in the context. Written with atomic operations by threads_linux.c alone.
struct team {
    uint32_t n_running; // helper threads that were started
    uint32_t n_core;    // cores this process may use
    uint32_t stop;      // 1 asks them to end
    uint32_t job;       // counts the passes handed out; helpers wait for it to change
    uint32_t n_asleep;  // helpers sleeping on job
    uint32_t n_arrived; // at the barrier
    uint32_t phase;     // counts the barriers passed
    uint32_t n_waiting; // asleep at the barrier
    uint32_t polite;    // barriers at which to spin shortly, since others want the cores
    const void *image;
    uint64_t thread[KLLM_MAX_THREAD];
};

/// Runs kllm_pass on every thread and returns when all have ended.
void kllm_team_run(struct kllm_ctx *ctx, const struct kllm_image *image);

/// Waits until every thread of the pass has arrived.
void kllm_team_barrier(struct kllm_ctx *ctx);

#endif
