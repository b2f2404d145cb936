// SPDX-License-Identifier: Apache-2.0
// The tables of a vocab section as pointers, and the two look-ups that everything is built on.
#ifndef KLLM_VOCAB_H
#define KLLM_VOCAB_H

#include "../base.h"

#define NO_TOKEN ((uint32_t)KLLM_NO_TOKEN)
#define GOLDEN 0x9e3779b97f4a7c15u

enum {
    TOKEN_ID = 0xfffff, // of kllm_word.token
    TOKEN_LENGTH_SHIFT = 20,
    TOKEN_LENGTH = 15,
    TOKEN_WHOLE = 1 << 24,
    SHORT_BYTES = 12, // texts up to here stand in the word table themselves
    TOKEN_BITS = 20,
    RANK_BITS = 20,
    RANK = (1 << RANK_BITS) - 1, // of a slot of the pair table; that of no merge
    BUCKET_BITS = 2,             // a bucket for so many slots
    FIRST_RANK_SHIFT = 40,       // of an entry of firsts: the rank, its limits below
    FIRST_LEFT_SHIFT = 20,
};

// Where the keys of a hash table are: each has a slot to itself.
struct places {
    const uint8_t *factors; // of each bucket
    uint64_t bucket_mask;
    uint32_t shift; // what brings the bits of a hash that choose the slot down
};

struct vocab {
    const struct kllm_vocab *head;
    const uint32_t *start;
    const uint8_t *text;
    const uint8_t *type;
    const uint32_t *byte_token;
    struct places word_places;
    const struct kllm_word *words;
    struct places pair_places;
    const uint64_t *pairs;
    const uint64_t *firsts; // NULL if they are not there
    const uint32_t *merges;
    const uint32_t *scores;
    const double *values; // unigram
    const uint32_t *specials;
    const uint16_t *blocks;
    const uint8_t *classes;
};

KLLM_INLINE struct places places_open(const uint8_t *factors, uint32_t n_bit) {
    return (struct places){factors, ((uint64_t)1 << (n_bit - BUCKET_BITS)) - 1, 64 - n_bit};
}

// The slot of the key that has this hash, a product whose high bits are the best; or of another.
KLLM_INLINE uint64_t place_of(const struct places *p, uint64_t hash) {
    return hash * p->factors[(hash ^ hash >> 32) & p->bucket_mask] >> p->shift;
}

KLLM_INLINE struct vocab vocab_open(const void *section) {
    const struct kllm_vocab *h = section;
    const uint8_t *base = section;
    return (struct vocab){
        .head = h,
        .start = (const uint32_t *)(base + h->start_off),
        .text = base + h->text_off,
        .type = base + h->type_off,
        .byte_token = (const uint32_t *)(base + h->byte_off),
        .word_places = places_open(base + h->word_factor_off, h->word_bits),
        .words = (const struct kllm_word *)(base + h->word_off),
        .pair_places = places_open(base + h->pair_factor_off, h->pair_bits),
        .pairs = (const uint64_t *)(base + h->pair_off),
        .firsts = h->flags & KLLM_VOCAB_FIRSTS ? (const uint64_t *)(base + h->first_off) : NULL,
        .merges = (const uint32_t *)(base + h->merge_off),
        .scores = (const uint32_t *)(base + h->score_off),
        .values = (const double *)(const void *)(base + h->score_off),
        .specials = (const uint32_t *)(base + h->special_off),
        .blocks = (const uint16_t *)(base + h->class_off),
        .classes = base + h->class_off + KLLM_CLASS_BLOCKS * 2,
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
    x *= GOLDEN;
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

// The hash of a text of up to SHORT_BYTES; lo is that of a longer one.
KLLM_INLINE uint64_t hash_key(struct text_key key) {
    return (mix(key.lo) + key.hi) * GOLDEN;
}

// Finds a token by its key and its text: the token field of its slot, 0 if there is none.
KLLM_INLINE uint32_t find_key(const struct vocab *v, struct text_key key, uint64_t hash,
                              const uint8_t *bytes, uint64_t n_bytes) {
    uint32_t length = n_bytes > SHORT_BYTES ? TOKEN_LENGTH : (uint32_t)n_bytes;
    const struct kllm_word *w = &v->words[place_of(&v->word_places, hash)];
    int is_same = w->key_lo == key.lo && w->key_hi == (uint32_t)key.hi &&
                  (w->token >> TOKEN_LENGTH_SHIFT & TOKEN_LENGTH) == length &&
                  (length != TOKEN_LENGTH || same_bytes(v, w->token & TOKEN_ID, bytes, n_bytes));
    return is_same ? w->token : 0;
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

// Finds the rank of a merge, RANK if the pair does not merge.
KLLM_INLINE uint64_t find_pair(const struct vocab *v, uint64_t left, uint64_t right) {
    uint64_t key = left << TOKEN_BITS | right;
    uint64_t rank = v->pairs[place_of(&v->pair_places, key * GOLDEN)] ^ key << RANK_BITS;
    return rank < RANK ? rank : RANK;
}

#endif
