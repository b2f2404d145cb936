// SPDX-License-Identifier: Apache-2.0
// The four functions of libc that compilers call. Eight bytes at a time where that is simple.
#include "base.h"

typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *restrict out, const void *restrict in, size_t n_bytes) {
    uint8_t *to = out;
    const uint8_t *from = in;
    for (; n_bytes >= 8; n_bytes -= 8, to += 8, from += 8) {
        *(word *)(void *)to = *(const word *)(const void *)from;
    }
    for (; n_bytes > 0; n_bytes--) {
        *to++ = *from++;
    }
    return out;
}

void *memmove(void *out, const void *in, size_t n_bytes) {
    uint8_t *to = out;
    const uint8_t *from = in;
    if (to <= from) { // ascending reads stay ahead of the writes
        for (size_t i = 0; i < n_bytes; i++) {
            to[i] = from[i];
        }
    } else {
        for (size_t i = n_bytes; i > 0; i--) {
            to[i - 1] = from[i - 1];
        }
    }
    return out;
}

void *memset(void *out, int byte, size_t n_bytes) {
    uint8_t *to = out;
    uint64_t pattern = (uint8_t)byte * 0x0101010101010101u;
    for (; n_bytes >= 8; n_bytes -= 8, to += 8) {
        *(word *)(void *)to = pattern;
    }
    for (; n_bytes > 0; n_bytes--) {
        *to++ = (uint8_t)byte;
    }
    return out;
}

int memcmp(const void *a, const void *b, size_t n_bytes) {
    const uint8_t *x = a;
    const uint8_t *y = b;
    for (size_t i = 0; i < n_bytes; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}
