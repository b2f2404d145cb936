// SPDX-License-Identifier: Apache-2.0
// The memory of a case: inputs that end at a page that traps, outputs among canaries.
#ifndef SLOTS_H
#define SLOTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "random_values.h"

enum { SLOT_BYTES = 1 << 20, GUARD_BYTES = 1 << 16, CANARY = 0xa5 };

// A slot of memory with a page that traps behind it; what it holds ends as near to it as alignment
// and a random shift allow.
struct slot {
    uint8_t *base;
    uint8_t *data;
    uint64_t n_bytes;
};

enum { IN_A, IN_B, IN_C, OUT_EXPECTED, OUT_ACTUAL, WORK_EXPECTED, WORK_ACTUAL, N_SLOT };
static struct slot slots[N_SLOT];

static void fail(const char *what) {
    fprintf(stderr, "check_kernels: %s\n", what);
    exit(1);
}

static void open_slots(void) {
    for (uint32_t i = 0; i < N_SLOT; i++) {
        uint8_t *base = mmap(NULL, SLOT_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED || mprotect(base + SLOT_BYTES, GUARD_BYTES, PROT_NONE) != 0) {
            fail("no memory");
        }
        slots[i].base = base;
    }
}

// Prepares a slot for n_bytes with at least the given alignment; shift moves it off a coarser one.
static void *place(uint32_t slot, uint64_t n_bytes, uint64_t align, uint64_t shift) {
    struct slot *s = &slots[slot];
    if (n_bytes + align * (shift + 1) > SLOT_BYTES) {
        fail("a case is larger than a slot");
    }
    mprotect(s->base, SLOT_BYTES, PROT_READ | PROT_WRITE);
    memset(s->base, CANARY, SLOT_BYTES);
    s->data = s->base + ((SLOT_BYTES - n_bytes) & ~(align - 1)) - align * shift;
    s->n_bytes = n_bytes;
    return s->data;
}

// Half of all buffers end right at the guard, the others lie at odd multiples of their alignment.
static uint64_t any_shift(void) {
    return below(2) ? 0 : between(1, 7);
}

static void *place_in(uint32_t slot, uint64_t n_bytes, uint64_t align) {
    return place(slot, n_bytes, align, any_shift());
}

static void place_out(uint64_t n_bytes, uint64_t align) {
    uint64_t shift = any_shift();
    place(OUT_EXPECTED, n_bytes, align, shift);
    place(OUT_ACTUAL, n_bytes, align, shift);
}

static void seal_inputs(void) {
    for (uint32_t i = IN_A; i <= IN_C; i++) {
        mprotect(slots[i].base, SLOT_BYTES, PROT_READ);
    }
}

static int same_f32(uint32_t a, uint32_t b) { // any NaN is as good as another
    return a == b || ((a & 0x7fffffffu) > 0x7f800000u && (b & 0x7fffffffu) > 0x7f800000u);
}

// Compares both output slots whole, so also that neither wrote past its output.
static int outputs_agree(void) {
    const struct slot *e = &slots[OUT_EXPECTED];
    const struct slot *a = &slots[OUT_ACTUAL];
    for (uint64_t i = 0; i < SLOT_BYTES; i++) {
        if (e->base[i] != CANARY &&
            (e->base + i < e->data || e->base + i >= e->data + e->n_bytes)) {
            printf("  the C twin writes outside its output, byte %td\n", e->base + i - e->data);
            return 0;
        }
    }
    if (memcmp(e->base, a->base, SLOT_BYTES) == 0) {
        return 1;
    }
    uint64_t first = (uint64_t)(e->data - e->base) % 4;
    for (uint64_t i = first; i + 4 <= SLOT_BYTES; i += 4) {
        uint32_t expected, actual;
        memcpy(&expected, e->base + i, 4);
        memcpy(&actual, a->base + i, 4);
        if (!same_f32(expected, actual)) {
            printf("  at byte %td of the output: expected %08x (%g), got %08x (%g)\n",
                   e->base + i - e->data, expected, (double)f32_of_bits(expected), actual,
                   (double)f32_of_bits(actual));
            return 0;
        }
    }
    return 1;
}

// The checksum of what the C twin wrote, every NaN taken for the same, behind those before it.
static uint32_t add_digest(uint32_t digest) {
    const struct slot *e = &slots[OUT_EXPECTED];
    for (uint64_t i = 0; i + 4 <= e->n_bytes; i += 4) {
        uint32_t word;
        memcpy(&word, e->data + i, 4);
        word = (word & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : word;
        digest = kllm_crc32(digest, &word, 4);
    }
    return digest;
}

#endif
