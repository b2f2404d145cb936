// SPDX-License-Identifier: Apache-2.0
// From words to tokens: byte-level BPE by rank and SentencePiece BPE by score.
#include "encode.h"
#include "firsts.h"

enum {
    INDEX_BITS = 6, // of a key
    MAX_SYMBOL = (1 << INDEX_BITS) - 2,
};

_Static_assert(KLLM_MAX_MERGE <= 1 << (32 - INDEX_BITS - 1), "a rank fits its bits of a key");

// ------------------------------------------------------------------------------------ byte level

// A word that is merged: its symbols, from place 1 on, between two edges that are none.
struct merging {
    uint64_t left; // the places of the symbols that are left, and of the edges
    uint32_t end;  // the place of the edge after them
    uint32_t ids[MAX_SYMBOL + 2];
    // Of the pair that a symbol starts: its rank, then its place, so that the lowest key is that of
    // the leftmost pair of the lowest rank.
    uint32_t keys[MAX_SYMBOL + 2];
};

// Without branches, which would be mispredicted: pairs that do not merge get the highest keys.
KLLM_INLINE void find_pair_at(const struct vocab *v, struct merging *m, uint32_t i,
                              uint32_t next) {
    uint32_t rank = find_pair(v, m->ids[i], m->ids[next]);
    m->keys[i] = rank << INDEX_BITS | i;
}

// The lowest of so many keys, a multiple of BRANCH.
KLLM_INLINE uint32_t lowest_key(const uint32_t *keys, uint32_t n_key) {
    uint32_t lowest = lowest_of(keys);
    for (uint32_t i = BRANCH; i < n_key; i += BRANCH) {
        lowest = min_u32(lowest, lowest_of(keys + i));
    }
    return lowest;
}

KLLM_INLINE void merge_all(const struct vocab *v, struct merging *m, uint32_t n_key) {
    for (;;) {
        uint32_t key = lowest_key(m->keys, n_key);
        if (key >= NO_RANK << INDEX_BITS) {
            return;
        }
        uint32_t i = key & ((1 << INDEX_BITS) - 1);
        uint64_t after = m->left & UINT64_MAX << i << 1; // the symbol that is joined, the edge
        m->keys[__builtin_ctzll(after)] = NO_KEY;
        m->left ^= after & (~after + 1);
        after &= after - 1;
        uint64_t before = m->left & (((uint64_t)1 << i) - 1);
        uint32_t previous = 63 - (uint32_t)__builtin_clzll(before);
        m->ids[i] = v->merges[key >> INDEX_BITS];
        uint32_t next = (uint32_t)__builtin_ctzll(after);
        find_pair_at(v, m, i, next);
        m->keys[i] |= 0 - (uint32_t)(next == m->end); // an edge is of no pair
        find_pair_at(v, m, previous, i);
        m->keys[0] = NO_KEY;
    }
}

// Makes the symbols of a word, of all bytes that have a token. Returns how many they are.
KLLM_INLINE uint32_t start_symbols(const struct vocab *v, const uint8_t *word, uint32_t n_bytes,
                                   uint32_t *ids) {
    uint32_t n = 0;
    if (v->firsts == NULL) {
        for (uint32_t i = 0; i < n_bytes; i++) {
            ids[n] = v->byte_token[word[i]];
            n += ids[n] != NO_TOKEN;
        }
        return n;
    }
    struct firsts f = firsts_start(v, word, n_bytes);
    for (uint32_t i = 0; i < n_bytes; i++) {
        ids[n] = firsts_next(v, &f, word, n_bytes, i);
        n += ids[n] != NO_TOKEN;
    }
    return n;
}

static void merge_small(const struct vocab *v, const uint8_t *word, uint32_t n_bytes,
                        struct sink *out) {
    struct merging m;
    uint32_t n = start_symbols(v, word, n_bytes, m.ids + 1);
    m.ids[0] = 0;
    m.ids[n + 1] = 0;
    m.end = n + 1;
    m.left = ((uint64_t)2 << m.end) - 1;
    uint32_t n_key = n < BRANCH ? BRANCH : (n & ~(BRANCH - 1u)) + BRANCH;
    for (uint32_t i = n_key - BRANCH; i < n_key; i++) {
        m.keys[i] = NO_KEY;
    }
    m.keys[0] = NO_KEY;
    for (uint32_t i = 1; i < n; i++) {
        find_pair_at(v, &m, i, i + 1);
    }
    if (n_key == BRANCH) {
        merge_all(v, &m, BRANCH);
    } else {
        merge_all(v, &m, n_key);
    }
    uint64_t left = m.left & (((uint64_t)1 << m.end) - 1);
    while ((left &= left - 1) != 0) { // the first edge goes first
        put_id(out, m.ids[__builtin_ctzll(left)]);
    }
}

// Writes the last n ids once more.
static void repeat_ids(struct sink *out, uint64_t n) {
    if (out->n <= out->n_max) {
        put_ids(out, out->ids + (out->n - n), n);
    } else {
        out->n += n;
    }
}

void kllm_merge_word(const struct vocab *v, struct window *w, const uint8_t *word,
                     uint64_t n_bytes, struct sink *out) {
    if (n_bytes <= MAX_SYMBOL) {
        merge_small(v, word, (uint32_t)n_bytes, out);
        return;
    }
    uint64_t done = 0; // of the window before
    uint64_t n_id = 0; // what it became
    while (n_bytes > 0) {
        uint64_t part = n_bytes < WINDOW_BYTES ? n_bytes : WINDOW_BYTES;
        // Runs of one sign: what is the same becomes the same.
        if (done > 0 && part < n_bytes && memcmp(word - done, word, part) == 0) {
            repeat_ids(out, n_id);
        } else {
            uint64_t n_before = out->n;
            done = kllm_encode_window(v, w, word, part, part == n_bytes, out);
            n_id = out->n - n_before;
        }
        word += done;
        n_bytes -= done;
    }
}

// --------------------------------------------------------------------------------- SentencePiece

static uint32_t is_space_mark(const uint8_t *text, uint64_t n_bytes) {
    return n_bytes >= 3 && text[0] == 0xe2 && text[1] == 0x96 && text[2] == 0x81;
}

// Copies text to the window's buffer with U+2581 as a plain space; returns the bytes taken.
static uint64_t fill_buffer(struct window *w, uint32_t *n_buffer, const uint8_t *text,
                            uint64_t n_bytes) {
    uint64_t i = 0;
    while (i < n_bytes && *n_buffer < WINDOW_BUFFER) {
        uint32_t is_mark = is_space_mark(text + i, n_bytes - i);
        w->buffer[(*n_buffer)++] = is_mark ? ' ' : text[i];
        i += is_mark ? 3 : 1;
    }
    return i;
}

// The bytes of text that n_unit bytes of the buffer were made of.
static uint64_t unit_bytes(const uint8_t *text, uint64_t n_bytes, uint64_t n_unit) {
    uint64_t i = 0;
    for (; n_unit > 0; n_unit--) {
        i += is_space_mark(text + i, n_bytes - i) ? 3 : 1;
    }
    return i;
}

uint64_t kllm_encode_spm(const struct vocab *v, struct window *w, const uint8_t *text,
                         uint64_t n_bytes, uint32_t prefix, uint32_t last, struct sink *out) {
    uint32_t n = 0;      // bytes in the buffer
    uint32_t pos = 0;    // bytes of those that are encoded
    uint64_t taken = 0;  // bytes of the text that are in the buffer, or were
    uint64_t n_unit = 0; // bytes that were in the buffer before it was last filled
    if (prefix) {
        w->buffer[n++] = ' ';
    }
    for (;;) {
        if (n - pos < WINDOW_BYTES && taken < n_bytes) {
            memmove(w->buffer, w->buffer + pos, n - pos);
            n -= pos;
            n_unit += pos;
            pos = 0;
            taken += fill_buffer(w, &n, text + taken, n_bytes - taken);
        }
        if (pos == n) {
            return n_bytes;
        }
        uint32_t part = min_u32(n - pos, WINDOW_BYTES);
        uint32_t end = spaced_word_end(v, w->buffer + pos, part);
        uint32_t is_rest = taken == n_bytes && part == n - pos;
        uint32_t is_word = end < part || (is_rest && last);
        if (!is_word && is_rest && part < WINDOW_BYTES) {
            n_unit += pos;
            return unit_bytes(text, n_bytes, n_unit - (n_unit > 0 ? prefix : 0));
        }
        uint32_t found = is_word && end <= KLLM_MAX_TOKEN_BYTES
                             ? find_word(v, w->buffer + pos, end, BUFFER_SLACK)
                             : 0;
        if (found & TOKEN_WHOLE) {
            put_id(out, found & TOKEN_ID);
            pos += end;
        } else {
            pos += (uint32_t)kllm_encode_window(v, w, w->buffer + pos, end, is_word, out);
        }
    }
}
