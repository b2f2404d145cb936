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
#include <time.h>
#include <unistd.h>

#include "context.h"

enum spin {
    SPIN_ROUND = 64,      // pauses between two looks at the clock, 2 microseconds or less
    SPIN_STAGE = 250000,  // nanoseconds before a thread without a share sleeps
    SPIN_POLITE = 0,      // the same where others want the cores: a round
    SPIN_IDLE = 100000,   // nanoseconds before an idle helper sleeps
    POLITE_STAGES = 1000, // how long one wait in vain is remembered: some tokens
};

static uint32_t count_cores(void) {
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? (uint32_t)CPU_COUNT(&cores) : 1;
}

static void cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("isb"); // "yield" takes no time on cores that run one thread
#endif
}

static int64_t now(void) { // nanoseconds
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t load(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

// Waits until *word is no longer `seen`: so many nanoseconds awake, then asleep, counted in
// *n_asleep. Returns whether it slept.
static int wait_for_change(uint32_t *word, uint32_t seen, uint32_t *n_asleep, int64_t awake) {
    int64_t start = 0;
    for (uint32_t i = 1; load(word) == seen; i++) {
        cpu_pause();
        if (i % SPIN_ROUND == 0) {
            int64_t t = now();
            start = start == 0 ? t : start;
            if (t - start >= awake) {
                break;
            }
        }
    }
    if (load(word) != seen) {
        return 0;
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

// How long to spin. Spinning is fastest while every thread has a core; where they
// share cores with others, a thread that sleeps is let run sooner when it wakes.
static int is_polite(const struct team *team) {
    return team->n_running >= team->n_core ||
           __atomic_load_n(&team->polite, __ATOMIC_RELAXED) != 0;
}

static void learn(struct team *team, int slept_after_spinning) {
    uint32_t polite = __atomic_load_n(&team->polite, __ATOMIC_RELAXED);
    if (polite != 0) {
        __atomic_store_n(&team->polite, polite - 1, __ATOMIC_RELAXED);
    } else if (slept_after_spinning) {
        __atomic_store_n(&team->polite, POLITE_STAGES, __ATOMIC_RELAXED);
    }
}

// Waits until *word is no longer `seen`, as long awake as manners allow.
static void wait_politely(struct team *team, uint32_t *word, uint32_t seen) {
    int polite = is_polite(team);
    int slept = wait_for_change(word, seen, &team->n_waiting, polite ? SPIN_POLITE : SPIN_STAGE);
    learn(team, slept && !polite);
}

// Takes a share of a stage unless it is taken or the stage is over. The order matters: a share that
// nobody has taken since it was looked at keeps the stage, if that was in hand then, from ending.
static int take(struct team *team, uint32_t stage, uint32_t share) {
    uint32_t seen = load(&team->taken[share]);
    return seen != stage + 1 && load(&team->stage) == stage &&
           __atomic_compare_exchange_n(&team->taken[share], &seen, stage + 1, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

int kllm_team_next(struct kllm_ctx *ctx, uint32_t thread, struct turn *turn, uint32_t n_part) {
    struct team *team = &ctx->team;
    if (team->n_running == 0) {
        turn->held ^= 1;
        return (int)turn->held;
    }
    n_part = max_u32(n_part, team->n_part);
    turn->n_share = (team->n_running + 1) * n_part;
    if (turn->held) {
        turn->held = 0;
        if (__atomic_add_fetch(&team->n_done, 1, __ATOMIC_ACQ_REL) == turn->n_share) {
            __atomic_store_n(&team->n_done, 0, __ATOMIC_RELAXED);
            change(&team->stage, &team->n_waiting);
        }
    }
    for (uint32_t i = 0; i < turn->n_share; i++) {
        uint32_t share = n_part * thread + i;
        turn->share = share < turn->n_share ? share : share - turn->n_share;
        if (take(team, turn->stage, turn->share)) {
            turn->held = 1;
            return 1;
        }
    }
    if (load(&team->stage) == turn->stage) {
        wait_politely(team, &team->stage, turn->stage);
    }
    turn->stage++;
    return 0;
}

// Ends a pass: the caller may change what it read when every thread has left it.
static void leave(struct team *team) {
    uint32_t seen = load(&team->n_ended);
    if (__atomic_add_fetch(&team->n_arrived, 1, __ATOMIC_ACQ_REL) == team->n_running + 1) {
        __atomic_store_n(&team->n_arrived, 0, __ATOMIC_RELAXED);
        change(&team->n_ended, &team->n_waiting);
    } else {
        wait_politely(team, &team->n_ended, seen);
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
        wait_for_change(&ctx->team.job, seen, &ctx->team.n_asleep, SPIN_IDLE);
        seen++;
        if (load(&ctx->team.stop) != 0) {
            return NULL;
        }
        kllm_pass(ctx, ctx->team.image, thread);
        leave(&ctx->team);
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

// Fixes the least shares of a stage: where others want the cores, some for each thread, so that one
// that loses its core holds only a small one.
static void set_parts(struct team *team) {
    team->n_part = is_polite(team) ? KLLM_POLITE_PARTS : 1;
    for (uint32_t i = 0; i < KLLM_MAX_PART * (team->n_running + 1); i++) {
        team->taken[i] = team->stage; // not in the next stage, however long ago it was
    }
    team->first = team->stage;
}

void kllm_team_run(struct kllm_ctx *ctx, const struct kllm_image *image) {
    struct team *team = &ctx->team;
    if (team->n_running == 0) {
        kllm_pass(ctx, image, 0);
        return;
    }
    set_parts(team);
    team->image = image;
    change(&team->job, &team->n_asleep);
    kllm_pass(ctx, image, 0);
    leave(team);
}
