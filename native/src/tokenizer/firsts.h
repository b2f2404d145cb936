// SPDX-License-Identifier: Apache-2.0
// The merges of a word's bytes that are certain from the start: nothing that could take one of the
// two bytes away has a rank as low. About half of all merges are; none has to wait for another.
#ifndef KLLM_FIRSTS_H
#define KLLM_FIRSTS_H

#include "vocab.h"

// Of two bytes side by side, as an entry of v->firsts: nothing merges, or anything may.
#define FIRST_NEVER UINT64_MAX
#define FIRST_UNKNOWN ((uint64_t)RANK << FIRST_RANK_SHIFT)

// A walk over the bytes of a word.
struct firsts {
    uint64_t before;     // what is known of the byte before and this one
    uint64_t here;       // of this one and the next
    uint32_t is_joined;  // this byte, to the one before
    uint32_t was_joined; // the one before, to the one before that
};

// What is known of bytes i and i + 1 of a word.
KLLM_INLINE uint64_t first_at(const struct vocab *v, const uint8_t *word, uint32_t n_bytes,
                              uint32_t i) {
    if (i + 1 >= n_bytes) {
        return FIRST_NEVER;
    }
    uint32_t x = word[i];
    uint32_t y = word[i + 1];
    uint64_t known = v->firsts[x % KLLM_N_ASCII * KLLM_N_ASCII + y % KLLM_N_ASCII];
    return (x | y) < KLLM_N_ASCII ? known : FIRST_UNKNOWN;
}

KLLM_INLINE struct firsts firsts_start(const struct vocab *v, const uint8_t *word,
                                       uint32_t n_bytes) {
    return (struct firsts){FIRST_NEVER, first_at(v, word, n_bytes, 0), 0, 0};
}

// The symbol that starts at byte i, NO_TOKEN if none does; i counts up from 0.
KLLM_INLINE uint32_t firsts_next(const struct vocab *v, struct firsts *f, const uint8_t *word,
                                 uint32_t n_bytes, uint32_t i) {
    uint64_t after = first_at(v, word, n_bytes, i + 1);
    uint32_t rank = (uint32_t)(f->here >> FIRST_RANK_SHIFT) & RANK;
    // Of two neighbours of one rank the left goes first.
    uint32_t left = ((uint32_t)(f->before >> FIRST_RANK_SHIFT) & RANK) | (0 - f->was_joined);
    uint32_t right = ((uint32_t)(after >> FIRST_RANK_SHIFT) & RANK) + 1;
    left = min_u32(left, (uint32_t)(f->before >> FIRST_LEFT_SHIFT) & RANK);
    right = min_u32(right, (uint32_t)after & RANK);
    uint32_t is_first = (rank < min_u32(left, right)) & (f->is_joined ^ 1);
    uint32_t made = v->merges[is_first ? rank : 0];
    uint32_t symbol = is_first ? made : v->byte_token[word[i]];
    symbol |= 0 - f->is_joined;
    *f = (struct firsts){f->here, after, is_first, f->is_joined};
    return symbol;
}

#endif
