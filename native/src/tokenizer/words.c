// SPDX-License-Identifier: Apache-2.0
// Encodes a stretch of text of a byte-level vocabulary: words, each looked up or merged.
#include "blocks.h"

// Of the second half of a slot of the word table: the text and its length.
#define SLOT_TEXT (0xffffffffu | (uint64_t)TOKEN_LENGTH << (32 + TOKEN_LENGTH_SHIFT))

#define HIGH_BITS 0x8080808080808080u // of 8 bytes that are not ASCII

enum {
    BLOCK_READ = BLOCK_BYTES + CACHED_BYTES, // a word's first bytes are read at once
    MAX_UNITS = 1 << 24,
    MAX_KEPT = CACHED_ROOM, // no longer word is kept, nor has more ids
    CACHED_SHIFT = TOKEN_LENGTH_SHIFT,
    SPLIT_WORDS = 16, // of a list, where they are not those of a block
    MAX_LISTED = 1 << 30,
    MIN_BLOCK = 16, // less text than this is not worth reading as one
};

// A word on its way to be looked up.
struct word {
    struct text_key key;
    uint64_t hash;                // of the key
    const struct kllm_word *slot; // asked for, so that memory is not waited for later
    uint32_t start;
    uint32_t n_bytes;
};

// Words that are listed and not yet looked up.
struct listed {
    const uint8_t *text;
    uint64_t readable; // bytes of it
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

// Writes CACHED_IDS ids, of which n_id count: what is too much is written over.
KLLM_INLINE void put_few(struct sink *out, const uint32_t *ids, uint64_t n_id) {
    if (out->n < out->n_max && out->n_max - out->n >= CACHED_IDS) {
        memcpy(out->ids + out->n, ids, CACHED_IDS * sizeof(ids[0]));
        out->n += n_id;
    } else {
        put_ids(out, ids, n_id);
    }
}

// Writes what a word of up to CACHED_BYTES became, where that is kept; returns whether it is.
KLLM_INLINE uint32_t put_kept(const struct cached *c, struct text_key key, uint64_t n_bytes,
                              struct sink *out) {
    if (c->lo != key.lo || c->hi != key.hi || c->ids[0] >> CACHED_SHIFT != n_bytes) {
        return 0;
    }
    uint32_t ids[CACHED_IDS];
    for (uint32_t i = 0; i < CACHED_IDS; i++) {
        ids[i] = c->ids[i] & TOKEN_ID;
    }
    put_few(out, ids, c->ids[1] >> CACHED_SHIFT);
    return 1;
}

static void keep_long(struct cached_long *l, const uint8_t *word, uint64_t n_bytes,
                      const uint32_t *ids, uint64_t n_id) {
    uint64_t n_text = (n_bytes + 3) / 4;
    if (n_text < CACHED_ROOM / 4 && n_id <= CACHED_ROOM / 4 - n_text) {
        l->n_bytes = (uint16_t)n_bytes;
        l->n_id = (uint16_t)n_id;
        memcpy(l->room, word, n_bytes);
        memcpy(l->room + n_text, ids, n_id * 4);
    }
}

// Encodes a word that is in no table of short ones. key: up to CACHED_BYTES its bytes.
static void encode_unknown(const struct vocab *v, struct work *w, const uint8_t *word,
                           uint64_t n_bytes, struct text_key key, struct kept kept,
                           struct sink *out) {
    struct cached_long *l = kept.one_long;
    if (l->n_bytes == n_bytes && memcmp(l->room, word, n_bytes) == 0) {
        put_ids(out, l->room + (n_bytes + 3) / 4, l->n_id);
        return;
    }
    if (n_bytes > MAX_SHORT) {
        uint32_t ids[MAX_KEPT];
        struct sink found = {ids, MAX_KEPT, 0};
        kllm_merge_word(v, &w->window, word, n_bytes, n_bytes > MAX_KEPT ? out : &found);
        if (n_bytes <= MAX_KEPT) {
            keep_long(l, word, n_bytes, ids, found.n);
            put_ids(out, ids, found.n);
        }
        return;
    }
    uint32_t ids[MAX_SHORT];
    memset(ids, 0, CACHED_IDS * sizeof(ids[0]));
    uint32_t n_id = kllm_merge_short(v, word, (uint32_t)n_bytes, ids);
    if (n_bytes > CACHED_BYTES || n_id > CACHED_IDS) {
        keep_long(l, word, n_bytes, ids, n_id);
        put_ids(out, ids, n_id);
        return;
    }
    *kept.one = (struct cached){key.lo, key.hi, {ids[0], ids[1], ids[2], ids[3]}};
    kept.one->ids[0] |= (uint32_t)n_bytes << CACHED_SHIFT;
    kept.one->ids[1] |= n_id << CACHED_SHIFT;
    put_few(out, ids, n_id);
}

// Encodes a word; readable bytes from its start may be read.
static void encode_word(const struct vocab *v, struct work *w, const uint8_t *word,
                        uint64_t n_bytes, uint64_t readable, struct sink *out) {
    if (n_bytes == 1) {
        if (v->byte_token[word[0]] != NO_TOKEN) {
            put_id(out, v->byte_token[word[0]]);
        }
        return;
    }
    struct text_key key = word_key(word, n_bytes, readable);
    uint64_t hash = hash_key(key);
    uint32_t token = n_bytes <= KLLM_MAX_TOKEN_BYTES ? find_key(v, key, hash, word, n_bytes) : 0;
    if (token != 0) {
        put_id(out, token & TOKEN_ID);
        return;
    }
    if (n_bytes > SHORT_BYTES && n_bytes <= CACHED_BYTES) {
        key = short_key(word, n_bytes, readable);
    }
    struct kept kept = kept_at(w, hash);
    if (!put_kept(kept.one, key, n_bytes, out)) {
        encode_unknown(v, w, word, n_bytes, key, kept, out);
    }
}

KLLM_INLINE void list_word(const struct vocab *v, struct word *w, const uint8_t *text,
                           uint32_t start, uint32_t n_bytes, uint64_t readable) {
    w->start = start;
    w->n_bytes = n_bytes;
    w->key = short_key(text + start, min_u32(n_bytes, CACHED_BYTES), readable);
    w->hash = hash_key(w->key);
    w->slot = &v->words[place_of(&v->word_places, w->hash)];
    __builtin_prefetch(w->slot);
}

// Lists the words of a block that are certain; returns their bytes. part: what is left of the text.
static uint32_t list_words(const struct vocab *v, const struct rule *rule, struct listed *list,
                           const uint8_t *text, struct stretch part) {
    uint64_t n_left = part.end - part.pos;
    uint64_t readable = part.readable - part.pos;
    uint32_t n_bytes = n_left < BLOCK_KNOWN ? (uint32_t)n_left : BLOCK_KNOWN;
    uint32_t is_end = n_left <= BLOCK_KNOWN && !part.is_open;
    text += part.pos;
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
            ? word_starts(text, n_bytes, is_end, rule->flags | LEAD_ANY, rule->n_digit)
            : word_starts(text, n_bytes, is_end, rule->flags & ~(uint32_t)LEAD_ANY, rule->n_digit);
    uint32_t start = 0;
    struct word *w = list->words;
    for (; starts != 0; starts &= starts - 1) {
        uint32_t end = lowest_bit(starts);
        list_word(v, w, text, start, end - start, BLOCK_READ);
        start = end;
        w++;
    }
    list->text = text;
    list->readable = BLOCK_READ;
    list->n = (uint32_t)(w - list->words);
    return start;
}

static void encode_listed(const struct vocab *v, struct work *work, struct listed *list,
                          struct sink *out) {
    struct sink ids = *out; // in registers
    const struct word *end = list->words + list->n;
    for (const struct word *w = list->words; w < end; w++) {
        uint64_t text_and_token = load_u64((const uint8_t *)&w->slot->key_hi);
        // No slot has a length between that of a text that stands in it and TOKEN_LENGTH.
        uint64_t length = min_u32(w->n_bytes, SHORT_BYTES + 1);
        uint64_t expected = (uint32_t)w->key.hi | length << (32 + TOKEN_LENGTH_SHIFT);
        if (((w->slot->key_lo ^ w->key.lo) | ((text_and_token ^ expected) & SLOT_TEXT)) == 0) {
            put_id(&ids, (uint32_t)(text_and_token >> 32) & TOKEN_ID);
            continue;
        }
        struct kept kept = kept_at(work, w->hash);
        if (w->n_bytes <= SHORT_BYTES && put_kept(kept.one, w->key, w->n_bytes, &ids)) {
            continue;
        }
        *out = ids;
        const uint8_t *text = list->text + w->start;
        if (w->n_bytes <= SHORT_BYTES) {
            encode_unknown(v, work, text, w->n_bytes, w->key, kept, out);
        } else {
            encode_word(v, work, text, w->n_bytes, list->readable - w->start, out);
        }
        ids = *out;
    }
    *out = ids;
    list->n = 0;
}

// Whether what starts at pos is best cut as a block.
KLLM_INLINE uint32_t is_block(const struct splitter *s, uint64_t pos) {
    return s->is_quick && s->end - pos >= MIN_BLOCK && (load_u64(s->text + pos) & HIGH_BITS) == 0;
}

// Lists the words from s->pos on as the rules cut them, the first of them whatever it is.
//
// Stops before one that what follows the text may change, and returns its end, else 0.
static uint64_t list_split(const struct vocab *v, struct splitter *s, struct listed *list,
                           const struct stretch *part) {
    uint64_t from = s->pos;
    list->text = s->text + from;
    list->readable = part->readable - from;
    list->n = 0;
    do {
        uint64_t start = s->pos;
        uint64_t next = kllm_split_next(s);
        if ((*s->saw_end && part->is_open && next > part->certain) || next - from > MAX_LISTED) {
            s->pos = start;
            return next;
        }
        list_word(v, &list->words[list->n++], list->text, (uint32_t)(start - from),
                  (uint32_t)(next - start), part->readable - start);
    } while (list->n < SPLIT_WORDS && s->pos < s->end && !is_block(s, s->pos));
    return 0;
}

uint64_t kllm_encode_words(const struct vocab *v, struct work *w, const uint8_t *text,
                           struct stretch part, struct sink *out) {
    struct splitter s;
    uint32_t saw_end = 0;
    kllm_split_start(&s, v, text, part.pos, part.end, &saw_end);
    struct listed lists[2]; // while one is looked up, what the other needs is on its way
    uint32_t which = 0;
    lists[0].n = 0;
    while (s.pos < part.end) {
        struct listed *list = &lists[!which];
        uint32_t n_done = 0;
        uint64_t unlisted = 0;
        if (is_block(&s, s.pos)) {
            struct stretch left = {s.pos, part.end, part.readable, part.is_open, 0};
            n_done = list_words(v, &s.pre->rule, list, text, left);
            s.pos += n_done;
        }
        if (n_done == 0) {
            unlisted = list_split(v, &s, list, &part);
        }
        encode_listed(v, w, &lists[which], out);
        which = !which;
        if (unlisted > 0) {
            encode_listed(v, w, list, out);
            if (saw_end && part.is_open && unlisted > part.certain) {
                return s.pos;
            }
            encode_word(v, w, text + s.pos, unlisted - s.pos, part.readable - s.pos, out);
            s.pos = unlisted;
        }
    }
    encode_listed(v, w, &lists[which], out);
    return s.pos;
}

int32_t kllm_encode_size(void *work, uint64_t work_bytes) {
    if (work_bytes < KLLM_ENCODE_WORK_BYTES) {
        return KLLM_ERR_RANGE;
    }
    uint64_t n_more = (work_bytes - sizeof(struct work)) / sizeof(struct cache_unit);
    ((struct work *)work)->n_more = n_more < MAX_UNITS ? (uint32_t)n_more : MAX_UNITS;
    return KLLM_OK;
}
