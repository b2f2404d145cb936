// SPDX-License-Identifier: Apache-2.0
// The bump allocator, for every state it can be in and every argument.
#include "arena.c"
#include "proof.h"

static struct kllm_arena any_arena(void) {
    struct kllm_arena arena;
    assume(arena.used_bytes <= arena.peak_bytes && arena.peak_bytes <= arena.n_bytes);
    return arena;
}

static int is_valid(const struct kllm_arena *arena) {
    return arena->used_bytes <= arena->peak_bytes && arena->peak_bytes <= arena->n_bytes;
}

void prove_init(void) {
    struct kllm_arena arena;
    uint64_t n_bytes = any_u64();
    kllm_arena_init(&arena, n_bytes);
    prove(is_valid(&arena) && arena.n_bytes == n_bytes && arena.used_bytes == 0, "empty");
}

void prove_alloc(void) {
    struct kllm_arena arena = any_arena();
    struct kllm_arena before = arena;
    uint64_t n_bytes = any_u64(), align = any_u64();
    int64_t off = kllm_arena_alloc(&arena, n_bytes, align);
    prove(is_valid(&arena) && arena.n_bytes == before.n_bytes, "the arena stays valid");
    if (off < 0) {
        prove(off == KLLM_ERR_RANGE || off == KLLM_ERR_SPACE, "an error has one of two codes");
        prove(arena.used_bytes == before.used_bytes && arena.peak_bytes == before.peak_bytes,
              "an error changes nothing");
        return;
    }
    prove((uint64_t)off >= before.used_bytes, "nothing that was handed out is handed out again");
    prove((uint64_t)off % align == 0, "the offset is aligned");
    prove((uint64_t)off - before.used_bytes < align, "no more is skipped than alignment asks for");
    prove((wide)off + n_bytes <= arena.n_bytes, "it lies inside");
    prove(arena.used_bytes == (uint64_t)off + n_bytes, "the next one starts behind it");
}

void prove_alloc_is_complete(void) {
    struct kllm_arena arena = any_arena();
    uint64_t n_bytes = any_u64(), align = (uint64_t)1 << (any_u64() & 15);
    assume(align <= 4096);
    wide off = ((wide)arena.used_bytes + align - 1) & ~(wide)(align - 1);
    assume(arena.n_bytes <= INT64_MAX && off + n_bytes <= arena.n_bytes);
    prove(kllm_arena_alloc(&arena, n_bytes, align) == (int64_t)off, "what fits is never refused");
}

void prove_release(void) {
    struct kllm_arena arena = any_arena();
    struct kllm_arena before = arena;
    uint64_t mark = any_u64();
    int32_t status = kllm_arena_release(&arena, mark);
    prove(is_valid(&arena) && arena.peak_bytes == before.peak_bytes, "the arena stays valid");
    prove((status == KLLM_OK) == (mark <= before.used_bytes), "only a mark in use is accepted");
    prove(arena.used_bytes == (status == KLLM_OK ? mark : before.used_bytes), "exactly that much");
}
