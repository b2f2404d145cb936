// SPDX-License-Identifier: Apache-2.0
// Encodes a stretch of text of a byte-level vocabulary: words, each looked up or merged.
#include "blocks.h"

#define HIGH_BITS 0x8080808080808080u // of 8 bytes that are not ASCII

enum {
    BLOCK_READ = BLOCK_BYTES + CACHED_BYTES, // a word's first bytes are read at once
    MAX_UNITS = 1 << 24,
    MAX_KEPT = CACHED_ROOM, // no longer word is kept, nor has more ids
    CACHED_SHIFT = TOKEN_LENGTH_SHIFT,
    MIN_BLOCK = 16, // less text than this is not worth reading as one
};

// A word of a block, on its way to be looked up.
struct word {
    struct text_key key;
    const struct kllm_word *slot; // asked for, so that memory is not waited for later
    uint32_t start;
    uint32_t n_bytes;
};

// The words of a block that are listed and not yet looked up.
struct listed {
    const uint8_t *text;
    uint32_t n;
    uint8_t copy[BLOCK_READ]; // of the end of the text
    struct word words[BLOCK_BYTES];
};

// The places where what became of a word is kept.
struct kept {
    struct cached *one;
    struct cached_long *one_long;
};

KLLM_INLINE struct kept kept_at(struct work *w, uint64_t hash) {
    uint64_t place = (hash >> 32) * (N_CACHE_UNITS + w->n_more);
    struct cache_unit *unit = &w->cache[place >> 32];
    return (struct kept){&unit->shorts[(place & 0xffffffff) * CACHE_SHORTS >> 32],
                         &unit->one_long};
}

static void keep(struct kept kept, const uint8_t *word, uint64_t n_bytes, struct text_key key,
                 const uint32_t *ids, uint64_t n_id) {
    uint64_t n_text = (n_bytes + 3) / 4;
    if (n_bytes <= CACHED_BYTES && n_id <= CACHED_IDS) {
        kept.one->lo = key.lo;
        kept.one->hi = key.hi;
        for (uint32_t i = 0; i < CACHED_IDS; i++) {
            kept.one->ids[i] = i < n_id ? ids[i] : 0;
        }
        kept.one->ids[0] |= (uint32_t)n_bytes << CACHED_SHIFT;
        kept.one->ids[1] |= (uint32_t)n_id << CACHED_SHIFT;
    } else if (n_text < CACHED_ROOM / 4 && n_id <= CACHED_ROOM / 4 - n_text) {
        kept.one_long->n_bytes = (uint16_t)n_bytes;
        kept.one_long->n_id = (uint16_t)n_id;
        memcpy(kept.one_long->room, word, n_bytes);
        memcpy(kept.one_long->room + n_text, ids, n_id * 4);
    }
}

// Encodes a word that is not kept: by the word table, or by merging it.
static void find_ids(const struct vocab *v, struct work *w, const uint8_t *word, uint64_t n_bytes,
                     uint64_t readable, struct text_key key, struct kept kept, struct sink *out) {
    uint32_t ids[MAX_KEPT];
    struct sink found = {ids, MAX_KEPT, 0};
    uint32_t token = n_bytes <= KLLM_MAX_TOKEN_BYTES ? find_word(v, word, n_bytes, readable) : 0;
    if (token != 0) {
        put_id(&found, token & TOKEN_ID);
    } else if (n_bytes <= MAX_KEPT) {
        kllm_merge_word(v, &w->window, word, n_bytes, &found);
    } else {
        kllm_merge_word(v, &w->window, word, n_bytes, out);
        return;
    }
    keep(kept, word, n_bytes, key, ids, found.n);
    put_ids(out, ids, found.n);
}

// Encodes a word; readable bytes from its start may be read. key: up to CACHED_BYTES its bytes.
static void encode_keyed(const struct vocab *v, struct work *w, const uint8_t *word,
                         uint64_t n_bytes, uint64_t readable, struct text_key key, uint64_t hash,
                         struct sink *out) {
    struct kept kept = kept_at(w, hash);
    const struct cached *c = kept.one;
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
    const struct cached_long *l = kept.one_long;
    if (l->n_bytes == n_bytes && memcmp(l->room, word, n_bytes) == 0) {
        put_ids(out, l->room + (n_bytes + 3) / 4, l->n_id);
        return;
    }
    find_ids(v, w, word, n_bytes, readable, key, kept, out);
}

static void encode_word(const struct vocab *v, struct work *w, const uint8_t *word,
                        uint64_t n_bytes, uint64_t readable, struct sink *out) {
    if (n_bytes == 1) {
        if (v->byte_token[word[0]] != NO_TOKEN) {
            put_id(out, v->byte_token[word[0]]);
        }
        return;
    }
    if (n_bytes <= CACHED_BYTES) {
        struct text_key key = short_key(word, n_bytes, readable);
        encode_keyed(v, w, word, n_bytes, readable, key, hash_key(key), out);
    } else {
        struct text_key key = {hash_long(word, n_bytes), 0};
        encode_keyed(v, w, word, n_bytes, readable, key, hash_key(key), out);
    }
}

// Lists the words of a block that are certain; returns their bytes.
static uint32_t list_words(const struct vocab *v, const struct rule *rule, struct listed *list,
                           const uint8_t *text, uint64_t n_left, uint64_t readable) {
    uint32_t n_bytes = n_left < BLOCK_KNOWN ? (uint32_t)n_left : BLOCK_KNOWN;
    if (readable < BLOCK_READ) {
        for (uint32_t i = 0; i < BLOCK_READ; i += 8) { // bare metal copies byte by byte
            uint64_t n = readable > i ? readable - i : 0;
            uint64_t bytes = n >= 8 ? load_u64(text + i) : load_bytes(text + i, n);
            memcpy(list->copy + i, &bytes, 8);
        }
        text = list->copy;
    }
    uint64_t starts =
        rule->flags & LEAD_ANY
            ? word_starts(text, n_bytes, rule->flags | LEAD_ANY, rule->n_digit)
            : word_starts(text, n_bytes, rule->flags & ~(uint32_t)LEAD_ANY, rule->n_digit);
    uint32_t start = 0;
    struct word *w = list->words;
    for (; starts != 0; starts &= starts - 1) {
        uint32_t end = lowest_bit(starts);
        w->start = start;
        w->n_bytes = end - start;
        w->key = short_key(text + start, min_u32(end - start, CACHED_BYTES), BLOCK_READ);
        w->slot = &v->words[hash_key(w->key) >> v->word_shift & v->word_mask];
        __builtin_prefetch(w->slot);
        start = end;
        w++;
    }
    list->text = text;
    list->n = (uint32_t)(w - list->words);
    return start;
}

static void encode_listed(const struct vocab *v, struct work *work, struct listed *list,
                          struct sink *out) {
    struct sink ids = *out; // in registers
    for (const struct word *w = list->words; w < list->words + list->n; w++) {
        uint32_t token = w->slot->token;
        uint32_t length = token >> TOKEN_LENGTH_SHIFT & TOKEN_LENGTH;
        if (((w->slot->key_lo ^ w->key.lo) | (w->slot->key_hi ^ w->key.hi) |
             (length ^ w->n_bytes)) == 0 &&
            length <= SHORT_BYTES) {
            put_id(&ids, token & TOKEN_ID);
            continue;
        }
        *out = ids;
        const uint8_t *text = list->text + w->start;
        if (w->n_bytes <= CACHED_BYTES) {
            encode_keyed(v, work, text, w->n_bytes, CACHED_BYTES, w->key, hash_key(w->key), out);
        } else {
            encode_word(v, work, text, w->n_bytes, BLOCK_READ - w->start, out);
        }
        ids = *out;
    }
    *out = ids;
    list->n = 0;
}

uint64_t kllm_encode_words(const struct vocab *v, struct work *w, const uint8_t *text,
                           struct stretch part, struct sink *out) {
    struct splitter s;
    uint32_t saw_end = 0;
    uint64_t pos = part.pos;
    kllm_split_start(&s, v, text, pos, part.end, &saw_end);
    struct listed lists[2]; // while one is looked up, what the other needs is on its way
    uint32_t which = 0;
    lists[0].n = 0;
    while (pos < part.end) {
        if (s.is_quick && part.end - pos >= MIN_BLOCK && (load_u64(text + pos) & HIGH_BITS) == 0) {
            uint32_t n_done = list_words(v, &s.pre->rule, &lists[!which], text + pos,
                                         part.end - pos, part.readable - pos);
            if (n_done > 0) {
                encode_listed(v, w, &lists[which], out);
                which = !which;
                pos += n_done;
                continue;
            }
        }
        encode_listed(v, w, &lists[which], out);
        s.pos = pos;
        uint64_t next = kllm_split_next(&s);
        if (saw_end && part.is_open && next > part.certain) {
            return pos;
        }
        encode_word(v, w, text + pos, next - pos, part.readable - pos, out);
        pos = next;
    }
    encode_listed(v, w, &lists[which], out);
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
