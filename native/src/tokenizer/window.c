// SPDX-License-Identifier: Apache-2.0
// Merges the symbols of a window of text, however long the word is that it is part of.
//
// Each pair has a key; the lowest of every BRANCH keys are kept, the lowest of those and of those,
// so that a merge looks at the few that it changed. What lies WINDOW_MARGIN or more before the end
// of a window is taken as final.
#include "encode.h"
#include "firsts.h"

enum {
    NIL = 0xffff,
    OFFSET_BITS = 12,
};

_Static_assert(sizeof(struct work) <= KLLM_ENCODE_WORK_BYTES, "work space");
_Static_assert(WINDOW_BYTES == 1 << OFFSET_BITS, "an offset fits its bits of a key");
_Static_assert(WINDOW_BYTES == BRANCH * BRANCH * BRANCH * BRANCH,
               "four steps find the lowest key");
_Static_assert((int)WINDOW_MARGIN >= (int)KLLM_MAX_TOKEN_BYTES,
               "the last token of a window is never final");

// ------------------------------------------------------------------------------------------ keys

// Finds the lowest keys anew after the one at offset i has changed.
KLLM_INLINE void renew_lowest(struct window *w, uint32_t i) {
    i /= BRANCH;
    w->lows[i] = lowest_of(w->keys + i * BRANCH);
    i /= BRANCH;
    w->mids[i] = lowest_of(w->lows + i * BRANCH);
    i /= BRANCH;
    w->tops[i] = lowest_of(w->mids + i * BRANCH);
}

// ---------------------------------------------------------------------------------------- window

// The end of the symbol at offset i.
KLLM_INLINE uint32_t symbol_end(const struct window *w, uint32_t i, uint32_t n_bytes) {
    return w->next[i] == NIL ? n_bytes : w->next[i];
}

// The key of the symbol at i: the rank of what it makes with the one after it, then its offset.
KLLM_INLINE uint32_t key_at(const struct vocab *v, struct window *w, const uint8_t *text,
                            uint32_t n_bytes, uint32_t is_bpe, uint32_t i) {
    uint32_t right = w->next[i];
    if (right == NIL) {
        return NO_KEY;
    }
    if (is_bpe) {
        uint32_t rank = (uint32_t)find_pair(v, w->ids[i], w->ids[right]);
        return rank == RANK ? NO_KEY : rank << OFFSET_BITS | i;
    }
    uint32_t length = symbol_end(w, right, n_bytes) - i;
    uint32_t word =
        length <= KLLM_MAX_TOKEN_BYTES ? find_word(v, text + i, length, BUFFER_SLACK) : 0;
    if (word == 0) {
        return NO_KEY;
    }
    w->made[i] = word & TOKEN_ID;
    return v->scores[w->made[i]] << OFFSET_BITS | i;
}

// Makes the symbols of a text: bytes that have a token, some of them merged, or characters. Returns
// the first.
KLLM_INLINE uint32_t start_symbols(const struct vocab *v, struct window *w, const uint8_t *text,
                                   uint32_t n_bytes, uint32_t is_bpe) {
    uint32_t first = NIL;
    uint32_t prev = NIL;
    uint32_t length = 1;
    struct firsts f = {0, 0, 0, 0};
    uint32_t has_firsts = is_bpe && v->firsts != NULL;
    if (has_firsts) {
        f = firsts_start(v, text, n_bytes);
    }
    for (uint32_t i = 0; i < n_bytes; i += length) {
        if (is_bpe) {
            w->ids[i] = has_firsts ? firsts_next(v, &f, text, n_bytes, i) : v->byte_token[text[i]];
            if (w->ids[i] == NO_TOKEN) {
                continue; // as the tokenizers library has it: its neighbours meet
            }
        } else {
            decode_utf8(text, i, n_bytes, &length);
            uint32_t word = find_word(v, text + i, length, BUFFER_SLACK);
            w->ids[i] = word ? word & TOKEN_ID : NO_TOKEN;
        }
        w->prev[i] = (uint16_t)prev;
        w->next[i] = NIL;
        if (prev == NIL) {
            first = i;
        } else {
            w->next[prev] = (uint16_t)i;
        }
        prev = i;
    }
    return first;
}

static void put_byte(const struct vocab *v, uint32_t byte, struct sink *out) {
    if (v->byte_token[byte] != NO_TOKEN) {
        put_id(out, v->byte_token[byte]);
    }
}

void kllm_put_bytes(const struct vocab *v, const uint8_t *text, uint32_t n_bytes,
                    struct sink *out) {
    if (v->byte_token[0] == NO_TOKEN) { // no bytes in this vocabulary
        if (v->head->unk != NO_TOKEN) {
            put_id(out, v->head->unk);
        }
    } else if (n_bytes == 1 && text[0] == ' ') { // U+2581, which spaces stand for
        put_byte(v, 0xe2, out);
        put_byte(v, 0x96, out);
        put_byte(v, 0x81, out);
    } else {
        for (uint32_t i = 0; i < n_bytes; i++) {
            put_byte(v, text[i], out);
        }
    }
}

KLLM_INLINE void put_key(struct window *w, uint32_t i, uint32_t key) {
    w->keys[i] = key;
    uint32_t *lowest[] = {&w->lows[i / BRANCH], &w->mids[i / BRANCH / BRANCH],
                          &w->tops[i / BRANCH / BRANCH / BRANCH]};
    KLLM_UNROLL
    for (uint32_t k = 0; k < 3; k++) {
        *lowest[k] = min_u32(*lowest[k], key);
    }
}

KLLM_INLINE void merge_symbols(const struct vocab *v, struct window *w, const uint8_t *text,
                               uint32_t n_bytes, uint32_t is_bpe, uint32_t first) {
    memset(w->keys, 0xff, align_up(n_bytes, BRANCH) * sizeof(w->keys[0]));
    memset(w->lows, 0xff, sizeof(w->lows));
    memset(w->mids, 0xff, sizeof(w->mids));
    memset(w->tops, 0xff, sizeof(w->tops));
    for (uint32_t i = first; i != NIL; i = w->next[i]) {
        w->keys[i] = key_at(v, w, text, n_bytes, is_bpe, i);
    }
    for (uint32_t i = 0; i < n_bytes; i += BRANCH) {
        renew_lowest(w, i);
    }
    uint32_t key = lowest_of(w->tops);
    while (key != NO_KEY) {
        uint32_t i = key & (WINDOW_BYTES - 1);
        uint32_t right = w->next[i];
        uint32_t before = w->prev[i];
        w->ids[i] = is_bpe ? v->merges[key >> OFFSET_BITS] : w->made[i];
        w->next[i] = w->next[right];
        if (w->next[i] != NIL) {
            w->prev[w->next[i]] = (uint16_t)i;
        }
        // The lowest of the others is found while the pairs that are new are looked up.
        w->keys[i] = NO_KEY;
        w->keys[right] = NO_KEY;
        if (before != NIL) {
            w->keys[before] = NO_KEY;
            if (before / BRANCH != i / BRANCH) {
                renew_lowest(w, before);
            }
        }
        if (right / BRANCH != i / BRANCH) {
            renew_lowest(w, right);
        }
        renew_lowest(w, i);
        uint32_t lowest = lowest_of(w->tops);
        uint32_t new_key = key_at(v, w, text, n_bytes, is_bpe, i);
        put_key(w, i, new_key);
        if (before != NIL) {
            key = key_at(v, w, text, n_bytes, is_bpe, before);
            put_key(w, before, key);
            new_key = min_u32(new_key, key);
        }
        key = min_u32(lowest, new_key);
    }
}

uint64_t kllm_encode_window(const struct vocab *v, struct window *w, const uint8_t *text,
                            uint64_t n_bytes, uint32_t last, struct sink *out) {
    uint32_t n = (uint32_t)n_bytes;
    uint32_t first;
    if (v->head->kind == KLLM_VOCAB_BPE) {
        first = start_symbols(v, w, text, n, 1);
        merge_symbols(v, w, text, n, 1, first);
    } else {
        first = start_symbols(v, w, text, n, 0);
        merge_symbols(v, w, text, n, 0, first);
    }
    uint32_t done = 0;
    for (uint32_t i = first; i != NIL; i = w->next[i]) {
        uint32_t end = symbol_end(w, i, n);
        if (!last && done > 0 && end > n - WINDOW_MARGIN) {
            return done;
        }
        if (w->ids[i] == NO_TOKEN) {
            kllm_put_bytes(v, text + i, end - i, out);
        } else {
            put_id(out, w->ids[i]);
        }
        done = end;
    }
    return n;
}
