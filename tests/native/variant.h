// SPDX-License-Identifier: Apache-2.0
// A row of the manifest beside its C twin, and what the report says of its running case.
#ifndef VARIANT_H
#define VARIANT_H

#include "../../native/src/kernels.h"
#include "slots.h"

struct variant {
    const char *name;
    const char *types;
    void (*fn)(void);
    void (*twin)(void);
    enum kllm_op op;
    uint32_t needs;
};

enum { N_DIM = 5 };
static uint32_t dims[N_DIM]; // of the running case, for the report
static float eps;

static int has(const struct variant *v, const char *type) {
    return strstr(v->types, type) != NULL;
}

// The first 70 rounds take every length up to 70: all tails of every vector width.
static uint32_t any_length(uint32_t round) {
    return round < 70 ? round + 1 : between(1, 2000);
}

#endif
