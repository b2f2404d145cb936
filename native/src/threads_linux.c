// SPDX-License-Identifier: Apache-2.0
// The team of a Linux build: POSIX threads that spin shortly, then sleep on a futex. A thread that
// slept instead of spinning leaves its core to the one it waits for, where others have taken the
// rest: the system moves that one over at once.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "context.h"

enum spin {
    SPIN_BARRIER = 2000,   // pauses before a thread at the barrier sleeps, about 50 microseconds
    SPIN_POLITE = 100,     // the same where others want the cores
    SPIN_IDLE = 4000,      // pauses before an idle helper sleeps
    POLITE_BARRIERS = 1000 // how long one wait in vain is remembered: some tokens
};

static uint32_t count_cores(void) {
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? (uint32_t)CPU_COUNT(&cores) : 1;
}

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

// Waits until *word is no longer `seen`: at first awake, then asleep, counted in *n_asleep. Returns
// whether it slept.
static int wait_for_change(uint32_t *word, uint32_t seen, uint32_t *n_asleep, uint32_t spins) {
    for (uint32_t i = 0; i < spins; i++) {
        if (load(word) != seen) {
            return 0;
        }
        cpu_pause();
    }
    __atomic_add_fetch(n_asleep, 1, __ATOMIC_SEQ_CST);
    while (load(word) == seen) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
    __atomic_sub_fetch(n_asleep, 1, __ATOMIC_SEQ_CST);
    return 1;
}

// Changes *word and wakes those who sleep on it.
static void change(uint32_t *word, uint32_t *n_asleep) {
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(n_asleep, __ATOMIC_SEQ_CST) != 0) {
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, KLLM_MAX_THREAD, NULL, NULL, 0);
    }
}

// How long to spin at the barrier. Spinning is fastest while every thread has a core; where they
// share cores with others, a thread that sleeps is let run sooner when it wakes.
static uint32_t spins_now(const struct team *team) {
    int polite =
        team->n_running >= team->n_core || __atomic_load_n(&team->polite, __ATOMIC_RELAXED) != 0;
    return polite ? SPIN_POLITE : SPIN_BARRIER;
}

static void learn(struct team *team, uint32_t spins, int slept) {
    uint32_t polite = __atomic_load_n(&team->polite, __ATOMIC_RELAXED);
    if (polite != 0) {
        __atomic_store_n(&team->polite, polite - 1, __ATOMIC_RELAXED);
    } else if (slept && spins == SPIN_BARRIER) {
        __atomic_store_n(&team->polite, POLITE_BARRIERS, __ATOMIC_RELAXED);
    }
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
        change(&team->phase, &team->n_waiting);
        return;
    }
    uint32_t spins = spins_now(team);
    learn(team, spins, wait_for_change(&team->phase, phase, &team->n_waiting, spins));
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
        wait_for_change(&ctx->team.job, seen, &ctx->team.n_asleep, SPIN_IDLE);
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
    team->n_core = count_cores();
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
    change(&team->job, &team->n_asleep);
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
    change(&team->job, &team->n_asleep);
    kllm_pass(ctx, image, 0);
    kllm_team_barrier(ctx);
}
