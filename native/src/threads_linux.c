// SPDX-License-Identifier: Apache-2.0
// The team of a Linux build: POSIX threads that spin shortly, then yield, then sleep on a futex.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "context.h"

enum spin {
    SPIN_BARRIER = 2000, // pauses before a thread at the barrier yields its core
    SPIN_IDLE = 4000,    // pauses before an idle helper sleeps; some tens of microseconds
};

static void cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static uint32_t load(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

void kllm_team_barrier(struct kllm_ctx *ctx) {
    struct team *team = &ctx->team;
    uint32_t n_thread = team->n_running + 1;
    if (n_thread == 1) {
        return;
    }
    uint32_t phase = load(&team->phase);
    if (__atomic_add_fetch(&team->n_arrived, 1, __ATOMIC_ACQ_REL) == n_thread) {
        __atomic_store_n(&team->n_arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    for (uint32_t i = 0; load(&team->phase) == phase; i++) {
        if (i < SPIN_BARRIER) {
            cpu_pause();
        } else {
            sched_yield();
        }
    }
}

// Waits for another job than `seen`; sleeps if it takes long.
static void wait_for_job(struct team *team, uint32_t seen) {
    for (uint32_t i = 0; i < SPIN_IDLE; i++) {
        if (load(&team->job) != seen) {
            return;
        }
        cpu_pause();
    }
    __atomic_add_fetch(&team->n_asleep, 1, __ATOMIC_SEQ_CST);
    while (load(&team->job) == seen) {
        syscall(SYS_futex, &team->job, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
    __atomic_sub_fetch(&team->n_asleep, 1, __ATOMIC_SEQ_CST);
}

static void post_job(struct team *team) {
    __atomic_add_fetch(&team->job, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&team->n_asleep, __ATOMIC_SEQ_CST) != 0) {
        syscall(SYS_futex, &team->job, FUTEX_WAKE_PRIVATE, KLLM_MAX_THREAD, NULL, NULL, 0);
    }
}

struct start {
    struct kllm_ctx *ctx;
    uint32_t thread;
    uint32_t taken;
};

static void *helper(void *argument) {
    struct start *start = argument;
    struct kllm_ctx *ctx = start->ctx;
    uint32_t thread = start->thread;
    uint32_t seen = load(&ctx->team.job);
    __atomic_store_n(&start->taken, 1, __ATOMIC_RELEASE);
    for (;;) {
        wait_for_job(&ctx->team, seen);
        seen++;
        if (load(&ctx->team.stop) != 0) {
            return NULL;
        }
        kllm_pass(ctx, ctx->team.image, thread);
        kllm_team_barrier(ctx);
    }
}

int32_t kllm_team_start(void *arena) {
    struct kllm_ctx *ctx = arena;
    struct team *team = &ctx->team;
    // Signals belong to the caller's threads: helpers block them all.
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int32_t status = KLLM_OK;
    while (status == KLLM_OK && team->n_running + 1 < ctx->config.n_thread) {
        struct start start = {ctx, team->n_running + 1, 0};
        pthread_t thread;
        if (pthread_create(&thread, NULL, helper, &start) != 0) {
            status = KLLM_ERR_SPACE;
            break;
        }
        while (load(&start.taken) == 0) {
            sched_yield();
        }
        team->thread[team->n_running++] = (uint64_t)thread;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (status != KLLM_OK) {
        kllm_team_stop(arena);
    }
    return status;
}

void kllm_team_stop(void *arena) {
    struct kllm_ctx *ctx = arena;
    struct team *team = &ctx->team;
    __atomic_store_n(&team->stop, 1, __ATOMIC_RELEASE);
    post_job(team);
    while (team->n_running > 0) {
        pthread_join((pthread_t)team->thread[--team->n_running], NULL);
    }
    team->stop = 0;
}

void kllm_team_run(struct kllm_ctx *ctx, const struct kllm_image *image) {
    struct team *team = &ctx->team;
    if (team->n_running == 0) {
        kllm_pass(ctx, image, 0);
        return;
    }
    team->image = image;
    post_job(team);
    kllm_pass(ctx, image, 0);
    kllm_team_barrier(ctx);
}
