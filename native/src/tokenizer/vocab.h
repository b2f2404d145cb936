// SPDX-License-Identifier: Apache-2.0
// The tables of a vocab section as pointers, and the two look-ups that everything is built on.
#ifndef KLLM_VOCAB_H
#define KLLM_VOCAB_H

#include "../base.h"

#define NO_TOKEN ((uint32_t)KLLM_NO_TOKEN)
#define NO_RANK 0xffffffffu

enum {
    TOKEN_ID = 0xfffff, // of kllm_word.token
    TOKEN_LENGTH_SHIFT = 20,
    TOKEN_LENGTH = 15,
    TOKEN_WHOLE = 1 << 24,
    SHORT_BYTES = 12, // texts up to here stand in the word table themselves
    PAIR_RANK_BITS = 24,
};

struct vocab {
    const struct kllm_vocab *head;
    const uint32_t *start;
    const uint8_t *text;
    const uint8_t *type;
    const uint32_t *byte_token;
    const struct kllm_word *words;
    const uint64_t *pairs;
    const uint32_t *merges;
    const uint32_t *scores;
    const double *values; // unigram
    const uint32_t *specials;
    const uint16_t *blocks;
    const uint8_t *classes;
    uint64_t word_mask; // slots of the word table, less one
    uint64_t pair_mask;
    uint32_t word_shift; // what brings the bits of a hash that choose the slot down
    uint32_t pair_shift;
};

KLLM_INLINE struct vocab vocab_open(const void *section) {
    const struct kllm_vocab *h = section;
    const uint8_t *base = section;
    return (struct vocab){
        .head = h,
        .start = (const uint32_t *)(base + h->start_off),
        .text = base + h->text_off,
        .type = base + h->type_off,
        .byte_token = (const uint32_t *)(base + h->byte_off),
        .words = (const struct kllm_word *)(base + h->word_off),
        .pairs = (const uint64_t *)(base + h->pair_off),
        .merges = (const uint32_t *)(base + h->merge_off),
        .scores = (const uint32_t *)(base + h->score_off),
        .values = (const double *)(const void *)(base + h->score_off),
        .specials = (const uint32_t *)(base + h->special_off),
        .blocks = (const uint16_t *)(base + h->class_off),
        .classes = base + h->class_off + KLLM_CLASS_BLOCKS * 2,
        .word_mask = ((uint64_t)1 << h->word_bits) - 1,
        .pair_mask = ((uint64_t)1 << h->pair_bits) - 1,
        .word_shift = 32 - h->word_bits,
        .pair_shift = 32 - h->pair_bits,
    };
}

KLLM_INLINE uint32_t type_of(const struct vocab *v, uint32_t id) {
    return v->type[id] & KLLM_TOKEN_TYPE;
}

KLLM_INLINE uint64_t load_u64(const uint8_t *bytes) {
    uint64_t word;
    __builtin_memcpy(&word, bytes, 8);
    return word;
}

// Up to 8 bytes, little endian, zeros after them.
KLLM_INLINE uint64_t load_bytes(const uint8_t *bytes, uint64_t n_bytes) {
    uint64_t word = 0;
    for (uint64_t i = 0; i < n_bytes; i++) {
        word |= (uint64_t)bytes[i] << (8 * i);
    }
    return word;
}

KLLM_INLINE uint64_t mix(uint64_t x) {
    x *= 0x9e3779b97f4a7c15u;
    return x ^ (x >> 32);
}

// The key of a text longer than SHORT_BYTES.
KLLM_INLINE uint64_t hash_long(const uint8_t *bytes, uint64_t n_bytes) {
    uint64_t h = n_bytes;
    uint64_t i = 0;
    for (; i + 8 <= n_bytes; i += 8) {
        h = mix(h ^ load_u64(bytes + i));
    }
    return mix(h ^ load_bytes(bytes + i, n_bytes - i));
}

KLLM_INLINE int same_bytes(const struct vocab *v, uint32_t id, const uint8_t *bytes,
                           uint64_t n_bytes) {
    return v->start[id + 1] - v->start[id] == n_bytes &&
           memcmp(v->text + v->start[id], bytes, n_bytes) == 0;
}

// A text of up to 16 bytes as two numbers, zeros after it.
struct text_key {
    uint64_t lo, hi;
};

// What is left of 16 bytes when only the first n count.
static const uint64_t FIRST_BYTES[17][2] = {
    {0, 0},
    {0xff, 0},
    {0xffff, 0},
    {0xffffff, 0},
    {0xffffffff, 0},
    {0xffffffffff, 0},
    {0xffffffffffff, 0},
    {0xffffffffffffff, 0},
    {UINT64_MAX, 0},
    {UINT64_MAX, 0xff},
    {UINT64_MAX, 0xffff},
    {UINT64_MAX, 0xffffff},
    {UINT64_MAX, 0xffffffff},
    {UINT64_MAX, 0xffffffffff},
    {UINT64_MAX, 0xffffffffffff},
    {UINT64_MAX, 0xffffffffffffff},
    {UINT64_MAX, UINT64_MAX},
};

KLLM_INLINE struct text_key short_key(const uint8_t *bytes, uint64_t n_bytes, uint64_t readable) {
    if (readable < 16) {
        return (struct text_key){load_bytes(bytes, n_bytes < 8 ? n_bytes : 8),
                                 n_bytes > 8 ? load_bytes(bytes + 8, n_bytes - 8) : 0};
    }
    // Without branches, which would be mispredicted as often as words are short and long in turn.
    return (struct text_key){load_u64(bytes) & FIRST_BYTES[n_bytes][0],
                             load_u64(bytes + 8) & FIRST_BYTES[n_bytes][1]};
}

// The hash that chooses the slot of a text of up to SHORT_BYTES; lo is that of a longer one.
KLLM_INLINE uint64_t hash_key(struct text_key key) {
    return mix(mix(key.lo) + key.hi);
}

// Finds a token by its key and its text: the token field of its slot, 0 if there is none.
KLLM_INLINE uint32_t find_key(const struct vocab *v, struct text_key key, uint64_t hash,
                              const uint8_t *bytes, uint64_t n_bytes) {
    uint32_t length = n_bytes > SHORT_BYTES ? TOKEN_LENGTH : (uint32_t)n_bytes;
    for (uint64_t i = hash >> v->word_shift & v->word_mask;; i = (i + 1) & v->word_mask) {
        const struct kllm_word *w = &v->words[i];
        if (w->token == 0) {
            return 0;
        }
        if (w->key_lo == key.lo && w->key_hi == (uint32_t)key.hi &&
            (w->token >> TOKEN_LENGTH_SHIFT & TOKEN_LENGTH) == length &&
            (length != TOKEN_LENGTH || same_bytes(v, w->token & TOKEN_ID, bytes, n_bytes))) {
            return w->token;
        }
    }
}

// The key of a text of n_bytes (1 or more); readable bytes of it may be read, n_bytes or more.
KLLM_INLINE struct text_key word_key(const uint8_t *bytes, uint64_t n_bytes, uint64_t readable) {
    if (n_bytes > SHORT_BYTES) {
        return (struct text_key){hash_long(bytes, n_bytes), 0};
    }
    return short_key(bytes, n_bytes, readable);
}

// Finds a token by its text, as find_key does.
KLLM_INLINE uint32_t find_word(const struct vocab *v, const uint8_t *bytes, uint64_t n_bytes,
                               uint64_t readable) {
    struct text_key key = word_key(bytes, n_bytes, readable);
    return find_key(v, key, hash_key(key), bytes, n_bytes);
}

// The rank of a merge that a slot of the pair table holds, its upper half all ones if it is of
// another pair.
KLLM_INLINE uint64_t rank_in(uint64_t slot, uint64_t key) {
    uint64_t rank = slot ^ key << PAIR_RANK_BITS;
    return rank | (0 - (uint64_t)(rank >> PAIR_RANK_BITS != 0));
}

// Finds the rank of a merge, NO_RANK if the pair does not merge.
KLLM_INLINE uint32_t find_pair(const struct vocab *v, uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 20 | right;
    uint64_t i = mix(key) >> v->pair_shift & v->pair_mask;
    // The first two slots are looked at without branches, which would be mispredicted.
    uint64_t a = v->pairs[i];
    uint64_t b = v->pairs[(i + 1) & v->pair_mask];
    uint32_t rank = (uint32_t)(rank_in(a, key) & rank_in(b, key));
    uint32_t is_end = (uint32_t)((a | b) >> (PAIR_RANK_BITS - 1)); // no rank has this bit
    if (__builtin_expect((rank >> 31 & ~is_end & 1) == 0, 1)) {
        return rank;
    }
    for (i = (i + 2) & v->pair_mask;; i = (i + 1) & v->pair_mask) {
        uint64_t slot = v->pairs[i];
        if (slot == UINT64_MAX) {
            return NO_RANK;
        }
        if (slot >> PAIR_RANK_BITS == key) {
            return (uint32_t)rank_in(slot, key);
        }
    }
}

#endif
