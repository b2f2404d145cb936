// SPDX-License-Identifier: Apache-2.0
// Encodes a stretch of text of a byte-level vocabulary: words, each looked up or merged.
#include "blocks.h"

enum {
    BLOCK_READ = BLOCK_BYTES + CACHED_BYTES, // a word's first bytes are read at once
    MAX_UNITS = 1 << 24,
    CACHED_SHIFT = TOKEN_LENGTH_SHIFT,
    MIN_BLOCK = 16, // less text than this is not worth reading as one
};

// A word of a block, on its way to be looked up.
struct word {
    struct text_key key;
    uint64_t hash;
    uint32_t start;
    uint32_t n_bytes;
};

// Encodes a word of 2 bytes or more that is no token by merging; keeps what became of it.
static void merge_word(const struct vocab *v, struct work *w, const uint8_t *word,
                       uint64_t n_bytes, struct text_key key, struct cached *c,
                       struct cached_long *l, struct sink *out) {
    uint32_t ids[CACHED_ROOM];
    struct sink found = {ids, CACHED_ROOM, 0};
    uint64_t n_text = (n_bytes + 3) / 4;
    if (n_text >= CACHED_ROOM / 4) {
        kllm_merge_word(v, &w->window, word, n_bytes, out);
        return;
    }
    kllm_merge_word(v, &w->window, word, n_bytes, &found);
    if (n_bytes <= CACHED_BYTES && found.n <= CACHED_IDS) {
        c->lo = key.lo;
        c->hi = key.hi;
        for (uint32_t i = 0; i < CACHED_IDS; i++) {
            c->ids[i] = i < found.n ? ids[i] : 0;
        }
        c->ids[0] |= (uint32_t)n_bytes << CACHED_SHIFT;
        c->ids[1] |= (uint32_t)found.n << CACHED_SHIFT;
    } else if (found.n <= CACHED_ROOM / 4 - n_text) {
        l->n_bytes = (uint16_t)n_bytes;
        l->n_id = (uint16_t)found.n;
        memcpy(l->room, word, n_bytes);
        memcpy(l->room + n_text, ids, found.n * 4);
    }
    put_ids(out, ids, found.n);
}

// Encodes a word that is no token: from the cache, or by merging it. Up to CACHED_BYTES its key is
// its bytes.
static void encode_merged(const struct vocab *v, struct work *w, const uint8_t *word,
                          uint64_t n_bytes, struct text_key key, uint64_t hash, struct sink *out) {
    uint64_t n_unit = N_CACHE_UNITS + w->n_more;
    uint64_t place = (hash >> 32) * n_unit;
    struct cache_unit *unit = &w->cache[place >> 32];
    struct cached *c = &unit->shorts[(place & 0xffffffff) * CACHE_SHORTS >> 32];
    if (c->ids[0] >> CACHED_SHIFT == n_bytes && c->lo == key.lo && c->hi == key.hi) {
        uint32_t ids[CACHED_IDS];
        for (uint32_t i = 0; i < CACHED_IDS; i++) {
            ids[i] = c->ids[i] & TOKEN_ID;
        }
        uint32_t n_id = c->ids[1] >> CACHED_SHIFT;
        if (out->n < out->n_max && out->n_max - out->n >= CACHED_IDS) {
            memcpy(out->ids + out->n, ids, sizeof(ids)); // what is too much is written over
            out->n += n_id;
        } else {
            put_ids(out, ids, n_id);
        }
        return;
    }
    struct cached_long *l = &unit->one_long;
    if (l->n_bytes == n_bytes && memcmp(l->room, word, n_bytes) == 0) {
        put_ids(out, l->room + (n_bytes + 3) / 4, l->n_id);
        return;
    }
    merge_word(v, w, word, n_bytes, key, c, l, out);
}

// Encodes a word by its key; readable bytes from its start may be read.
KLLM_INLINE void encode_keyed(const struct vocab *v, struct work *w, const uint8_t *word,
                              uint64_t n_bytes, uint64_t readable, struct text_key key,
                              uint64_t hash, struct sink *out) {
    uint32_t found = n_bytes <= KLLM_MAX_TOKEN_BYTES ? find_key(v, key, hash, word, n_bytes) : 0;
    if (found != 0) {
        put_id(out, found & TOKEN_ID);
        return;
    }
    if (n_bytes > SHORT_BYTES && n_bytes <= CACHED_BYTES) {
        key = short_key(word, n_bytes, readable);
    }
    encode_merged(v, w, word, n_bytes, key, hash, out);
}

static void encode_word(const struct vocab *v, struct work *w, const uint8_t *word,
                        uint64_t n_bytes, uint64_t readable, struct sink *out) {
    if (n_bytes == 1) {
        if (v->byte_token[word[0]] != NO_TOKEN) {
            put_id(out, v->byte_token[word[0]]);
        }
        return;
    }
    struct text_key key = word_key(word, n_bytes, readable);
    encode_keyed(v, w, word, n_bytes, readable, key, hash_key(key), out);
}

// Lists the words of a block up to its last certain start; returns how many.
KLLM_INLINE uint32_t list_words(const struct vocab *v, const uint8_t *text, uint64_t starts,
                                struct word *words) {
    uint32_t n = 0;
    uint32_t start = 0;
    for (; starts != 0; starts &= starts - 1) {
        struct word *w = &words[n++];
        uint32_t end = lowest_bit(starts);
        w->start = start;
        w->n_bytes = end - start;
        w->key = short_key(text + start, min_u32(end - start, CACHED_BYTES), BLOCK_READ);
        w->hash = hash_key(w->key);
        __builtin_prefetch(&v->words[w->hash >> v->word_shift & v->word_mask]);
        start = end;
    }
    return n;
}

// Encodes the words of a block that are certain; returns their bytes. BLOCK_READ bytes are read.
static uint32_t encode_block(const struct vocab *v, struct work *work, const struct splitter *s,
                             const uint8_t *text, uint32_t n_bytes, struct sink *out) {
    const struct rule *rule = &s->pre->rule;
    uint64_t starts =
        rule->flags & LEAD_ANY
            ? word_starts(text, n_bytes, rule->flags | LEAD_ANY, rule->n_digit)
            : word_starts(text, n_bytes, rule->flags & ~(uint32_t)LEAD_ANY, rule->n_digit);
    struct word words[BLOCK_BYTES];
    uint32_t n = list_words(v, text, starts, words);
    struct sink ids = *out; // in registers
    for (uint32_t i = 0; i < n; i++) {
        const struct word *w = &words[i];
        const struct kllm_word *slot = &v->words[w->hash >> v->word_shift & v->word_mask];
        uint32_t token = slot->token;
        if (((slot->key_lo ^ w->key.lo) | (slot->key_hi ^ w->key.hi) |
             ((token >> TOKEN_LENGTH_SHIFT & TOKEN_LENGTH) ^ w->n_bytes)) == 0 &&
            w->n_bytes <= SHORT_BYTES) {
            put_id(&ids, token & TOKEN_ID);
            continue;
        }
        *out = ids;
        if (w->n_bytes <= SHORT_BYTES) {
            encode_keyed(v, work, text + w->start, w->n_bytes, CACHED_BYTES, w->key, w->hash, out);
        } else {
            encode_word(v, work, text + w->start, w->n_bytes, BLOCK_READ - w->start, out);
        }
        ids = *out;
    }
    *out = ids;
    return n > 0 ? words[n - 1].start + words[n - 1].n_bytes : 0;
}

uint64_t kllm_encode_words(const struct vocab *v, struct work *w, const uint8_t *text,
                           struct stretch part, struct sink *out) {
    struct splitter s;
    uint32_t saw_end = 0;
    uint64_t pos = part.pos;
    kllm_split_start(&s, v, text, pos, part.end, &saw_end);
    while (pos < part.end) {
        if (s.is_quick && part.end - pos >= MIN_BLOCK && high_bits(load_u64(text + pos)) == 0) {
            uint64_t n_left = part.end - pos;
            uint32_t n_bytes = n_left < BLOCK_KNOWN ? (uint32_t)n_left : BLOCK_KNOWN;
            uint8_t copy[BLOCK_READ];
            const uint8_t *block = text + pos;
            if (part.readable - pos < BLOCK_READ) {
                memset(copy, 0, sizeof(copy));
                memcpy(copy, block, part.readable - pos);
                block = copy;
            }
            uint32_t n_done = encode_block(v, w, &s, block, n_bytes, out);
            pos += n_done;
            if (n_done > 0) {
                continue;
            }
        }
        s.pos = pos;
        uint64_t next = kllm_split_next(&s);
        if (saw_end && part.is_open && next > part.certain) {
            return pos;
        }
        encode_word(v, w, text + pos, next - pos, part.readable - pos, out);
        pos = next;
    }
    return pos;
}

int32_t kllm_encode_size(void *work, uint64_t work_bytes) {
    if (work_bytes < KLLM_ENCODE_WORK_BYTES) {
        return KLLM_ERR_RANGE;
    }
    uint64_t n_more = (work_bytes - sizeof(struct work)) / sizeof(struct cache_unit);
    ((struct work *)work)->n_more = n_more < MAX_UNITS ? (uint32_t)n_more : MAX_UNITS;
    return KLLM_OK;
}
