// SPDX-License-Identifier: Apache-2.0
// The bump allocator: offsets into bytes that the caller owns.
#include "base.h"

void kllm_arena_init(struct kllm_arena *arena, uint64_t n_bytes) {
    *arena = (struct kllm_arena){.n_bytes = n_bytes};
}

int64_t kllm_arena_alloc(struct kllm_arena *arena, uint64_t n_bytes, uint64_t align) {
    if (align == 0 || align > 4096 || (align & (align - 1)) != 0) {
        return KLLM_ERR_RANGE;
    }
    uint64_t free_bytes = arena->n_bytes - arena->used_bytes;
    uint64_t pad = (0 - arena->used_bytes) & (align - 1);
    if (pad > free_bytes || n_bytes > free_bytes - pad || arena->n_bytes > INT64_MAX) {
        return KLLM_ERR_SPACE;
    }
    uint64_t off = arena->used_bytes + pad;
    arena->used_bytes = off + n_bytes;
    if (arena->used_bytes > arena->peak_bytes) {
        arena->peak_bytes = arena->used_bytes;
    }
    return (int64_t)off;
}

uint64_t kllm_arena_mark(const struct kllm_arena *arena) {
    return arena->used_bytes;
}

int32_t kllm_arena_release(struct kllm_arena *arena, uint64_t mark) {
    if (mark > arena->used_bytes) {
        return KLLM_ERR_RANGE;
    }
    arena->used_bytes = mark;
    return KLLM_OK;
}

void kllm_arena_reset(struct kllm_arena *arena) {
    arena->used_bytes = 0;
}

int64_t kllm_arena_spin(struct kllm_arena *arena, uint64_t n_bytes, uint64_t align,
                        uint32_t loops) {
    int64_t off = KLLM_OK;
    for (uint32_t i = 0; i < loops; i++) {
        off = kllm_arena_alloc(arena, n_bytes, align);
        kllm_arena_reset(arena);
    }
    return off;
}
