// SPDX-License-Identifier: Apache-2.0
// The threads that run a pass together: state, and the two calls that differ between builds.
#ifndef KLLM_TEAM_H
#define KLLM_TEAM_H

#include "base.h"

struct kllm_ctx;

// Shares of a stage that are a thread's own, at most, and at least where others want the cores too.
enum {
    KLLM_MAX_PART = 8,
    KLLM_POLITE_PARTS = 4,
    KLLM_MAX_SHARE = KLLM_MAX_PART * KLLM_MAX_THREAD
};

// Lives in the context. Written with atomic operations by threads_linux.c alone.
struct team {
    uint32_t n_running; // helper threads that were started
    uint32_t n_core;    // cores this process may use
    uint32_t stop;      // 1 asks them to end
    uint32_t job;       // counts the passes handed out; helpers wait for it to change
    uint32_t n_asleep;  // helpers sleeping on job
    uint32_t n_arrived; // at the end of the pass
    uint32_t n_ended;   // counts the passes that every thread has left
    uint32_t n_part;    // least parts of the pass in hand
    uint32_t first;     // its first stage
    uint32_t n_done;    // shares of the stage in hand that are done
    uint32_t stage;     // counts the stages ended
    uint32_t n_waiting; // asleep until the stage or the pass ends
    uint32_t polite;    // stages at which to spin shortly, since others want the cores
    const void *image;
    uint64_t thread[KLLM_MAX_THREAD];
    uint32_t taken[KLLM_MAX_SHARE]; // the stage, counted from 1, in which a share was last taken
};

// Where a thread stands in the pass.
struct turn {
    uint32_t stage;
    uint32_t share; // that it holds
    uint32_t n_share;
    uint32_t held; // 1 if it holds one
};

/// Runs kllm_pass on every thread and returns when all have ended.
void kllm_team_run(struct kllm_ctx *ctx, const struct kllm_image *image);

/// Hands back the share of a stage that the thread holds, if any, and takes another. Returns 0,
/// once all shares of all threads are done, when none is left; the next stage then begins.
/// n_part: parts of which each thread has its own in this stage, 1 .. KLLM_MAX_PART, the same in
/// every thread; more where others want the cores.
///
/// A thread first takes the shares that are its own by its number, then what others left: one that
/// has lost its core delays the rest by the share it holds and no more. When it runs again it finds
/// its stage over and follows: what it read meanwhile may be half of another stage, so before its
/// first share of a stage it may write nothing but memory of its own.
int kllm_team_next(struct kllm_ctx *ctx, uint32_t thread, struct turn *turn, uint32_t n_part);

#endif
