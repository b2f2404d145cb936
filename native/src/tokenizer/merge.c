// SPDX-License-Identifier: Apache-2.0
// From words to tokens: byte-level BPE by rank and SentencePiece BPE by score.
#include "encode.h"
#include "firsts.h"

enum {
    PLACE_BITS = 6, // of a key
    N_PLACE = 1 << PLACE_BITS,
    NEXT_PLACES = N_PLACE + 1, // from those of a pair to those of the next
    PLACES_1_2 = N_PLACE + 2,  // of the first pair
};

_Static_assert(MAX_SHORT == N_PLACE - 2, "the symbols of a short word and two edges have places");
_Static_assert(RANK_BITS + 2 * PLACE_BITS == 32, "a rank and two places fit a key");

// ------------------------------------------------------------------------------------ byte level

// What stands before the first symbol of a word and after the last: no slot of the pair table has
// bits as high as either has at its side of a pair.
#define LEFT_EDGE ((uint64_t)1 << TOKEN_BITS)
#define RIGHT_EDGE ((uint64_t)1 << (2 * TOKEN_BITS + 3))

// A word that is merged: its symbols, from place 1 on, between two edges. A symbol keeps the place
// of its first part. Arrays of their own and not of one struct: that is one instruction less for
// each time one is indexed.
struct merging {
    uint64_t *ids;
    // Of the pair that a symbol starts: its rank, then the places of both, so that the lowest key
    // is that of the leftmost pair of the lowest rank.
    uint32_t *keys;
    uint8_t *next; // the place of the symbol after the one at a place, and before it
    uint8_t *before;
};

// Without branches, which would be mispredicted: pairs that do not merge get the highest keys.
KLLM_INLINE uint32_t key_of(const struct vocab *v, uint64_t left, uint64_t right,
                            uint64_t places) {
    return (uint32_t)(find_pair(v, left, right) << (2 * PLACE_BITS) | places);
}

// Merges what merges, the lowest of n_key keys first.
KLLM_INLINE void merge_all(const struct vocab *v, struct merging *m, uint32_t n_key) {
    const uint32_t *merges = v->merges;
    for (;;) {
        uint32_t key = lowest_of(m->keys);
        for (uint32_t i = BRANCH; i < n_key; i += BRANCH) {
            key = min_u32(key, lowest_of(m->keys + i));
        }
        if (key >= (uint32_t)RANK << (2 * PLACE_BITS)) {
            return;
        }
        uint64_t right = key % N_PLACE;
        uint64_t here = key >> PLACE_BITS & (N_PLACE - 1);
        uint64_t next = m->next[right];
        uint64_t before = m->before[here];
        uint64_t made = merges[key >> (2 * PLACE_BITS)];
        m->next[here] = (uint8_t)next;
        m->before[next] = (uint8_t)here;
        m->ids[here] = made;
        m->keys[right] = NO_KEY;
        m->keys[here] = key_of(v, made, m->ids[next], here << PLACE_BITS | next);
        m->keys[before] = key_of(v, m->ids[before], made, before << PLACE_BITS | here);
    }
}

// Makes n symbols a word of which no pair merges: in the first n_place places, which are enough.
// Returns how many keys there are, a multiple of BRANCH.
KLLM_INLINE uint32_t lay_out(struct merging *m, uint32_t n, uint32_t n_place) {
    for (uint32_t i = 0; i < n_place; i++) {
        m->next[i] = (uint8_t)(i + 1);
        m->before[i] = (uint8_t)(i - 1);
    }
    m->ids[0] = LEFT_EDGE;
    m->ids[n + 1] = RIGHT_EDGE;
    uint32_t last = n_place < N_PLACE ? 0 : n & ~(BRANCH - 1u);
    memset(m->keys + last, 0xff, BRANCH * sizeof(m->keys[0])); // those before get values
    m->keys[0] = NO_KEY;
    return last + BRANCH;
}

// Makes a symbol of each byte, with its key. Returns whether each is a token; else it is nothing.
KLLM_INLINE uint32_t start_bytes(const struct vocab *v, struct merging *m, const uint8_t *word,
                                 uint32_t n_bytes) {
    uint64_t id = v->byte_token[word[0]];
    uint64_t all = id;
    uint64_t places = PLACES_1_2;
    m->ids[1] = id;
    for (uint64_t i = 1; i < n_bytes; i++) {
        uint64_t left = id;
        id = v->byte_token[word[i]];
        all |= id;
        m->ids[i + 1] = id;
        m->keys[i] = key_of(v, left, id, places);
        places += NEXT_PLACES;
    }
    return all <= TOKEN_ID;
}

// Makes the symbols of the bytes that are tokens, the merges that are certain done. Returns how
// many they are.
KLLM_INLINE uint32_t start_symbols(const struct vocab *v, const uint8_t *word, uint32_t n_bytes,
                                   uint64_t *ids) {
    uint32_t n = 0;
    struct firsts f = {0, 0, 0, 0};
    if (v->firsts != NULL) {
        f = firsts_start(v, word, n_bytes);
    }
    for (uint32_t i = 0; i < n_bytes; i++) {
        uint32_t id =
            v->firsts != NULL ? firsts_next(v, &f, word, n_bytes, i) : v->byte_token[word[i]];
        ids[n] = id;
        n += id != NO_TOKEN;
    }
    return n;
}

// Writes the ids of all symbols, the last at place n or before it. Returns how many they are.
KLLM_INLINE uint32_t list_ids(const struct merging *m, uint32_t n, uint32_t *ids) {
    uint32_t n_id = 0;
    for (uint64_t i = 1; i <= n; i = m->next[i]) {
        ids[n_id++] = (uint32_t)m->ids[i];
    }
    return n_id;
}

static uint32_t merge_any(const struct vocab *v, const uint8_t *word, uint32_t n_bytes,
                          uint32_t *ids) {
    uint64_t symbols[N_PLACE];
    uint32_t keys[N_PLACE];
    uint8_t next[N_PLACE];
    uint8_t before[N_PLACE];
    struct merging m = {symbols, keys, next, before};
    uint32_t n = start_symbols(v, word, n_bytes, symbols + 1);
    uint32_t n_key = lay_out(&m, n, N_PLACE);
    uint64_t places = PLACES_1_2;
    for (uint64_t i = 1; i < n; i++) {
        keys[i] = key_of(v, symbols[i], symbols[i + 1], places);
        places += NEXT_PLACES;
    }
    if (n_key == BRANCH) {
        merge_all(v, &m, BRANCH);
    } else {
        merge_all(v, &m, n_key);
    }
    return list_ids(&m, n, ids);
}

uint32_t kllm_merge_short(const struct vocab *vocab, const uint8_t *word, uint32_t n_bytes,
                          uint32_t *ids) {
    struct vocab copy = *vocab; // in registers
    const struct vocab *v = &copy;
    if (n_bytes >= BRANCH || v->firsts != NULL) {
        return merge_any(vocab, word, n_bytes, ids);
    }
    uint64_t symbols[2 * BRANCH];
    uint32_t keys[BRANCH];
    uint8_t next[2 * BRANCH];
    uint8_t before[2 * BRANCH];
    struct merging m = {symbols, keys, next, before};
    lay_out(&m, n_bytes, 2 * BRANCH);
    if (!start_bytes(v, &m, word, n_bytes)) {
        return merge_any(vocab, word, n_bytes, ids);
    }
    merge_all(v, &m, BRANCH);
    return list_ids(&m, n_bytes, ids);
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
    if (n_bytes <= MAX_SHORT) {
        uint32_t ids[MAX_SHORT];
        put_ids(out, ids, kllm_merge_short(v, word, (uint32_t)n_bytes, ids));
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
