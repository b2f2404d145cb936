// SPDX-License-Identifier: Apache-2.0
// Compiler attributes and the few inline helpers that every file of the core may use.
#ifndef KLLM_BASE_H
#define KLLM_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "kllm.h"

#if defined(KLLM_TRAP)
#define KLLM_ASSUME(cond) ((cond) ? (void)0 : __builtin_trap())
#else
#define KLLM_ASSUME(cond) ((void)sizeof(cond))
#endif

#define KLLM_INLINE static inline __attribute__((always_inline))

// Before a loop of a constant number of turns that must leave no loop behind: arrays indexed by it
// then live in registers. clang takes the number gcc needs for the number of turns to unroll.
#if defined(__clang__)
#define KLLM_UNROLL _Pragma("unroll")
#else
#define KLLM_UNROLL _Pragma("GCC unroll 32")
#endif

// The only four functions of libc that the core may call; compilers emit calls to them anyway.
void *memcpy(void *restrict out, const void *restrict in, size_t n_bytes);
void *memmove(void *out, const void *in, size_t n_bytes);
void *memset(void *out, int byte, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);

// Freestanding code calls them even for four bytes, unless told that they are the usual ones.
#define memcpy(...) __builtin_memcpy(__VA_ARGS__)
#define memmove(...) __builtin_memmove(__VA_ARGS__)
#define memset(...) __builtin_memset(__VA_ARGS__)

KLLM_INLINE uint64_t align_up(uint64_t n, uint64_t align) {
    return (n + align - 1) & ~(align - 1);
}

KLLM_INLINE uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

KLLM_INLINE uint32_t max_u32(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

KLLM_INLINE float fma_f32(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}

KLLM_INLINE uint32_t bits_of_f32(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    return bits;
}

KLLM_INLINE float f32_of_bits(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}

// True for anything but NaN and the infinities.
KLLM_INLINE int is_finite_f32(float x) {
    return (bits_of_f32(x) & 0x7f800000u) != 0x7f800000u;
}

#endif
