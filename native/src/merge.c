// SPDX-License-Identifier: Apache-2.0
// From words to tokens: byte-level BPE by rank and SentencePiece BPE by score.
#include "encode.h"

enum {
    SMALL_WORD = 64,
    INDEX_BITS = 6, // of a key
};

_Static_assert(SMALL_WORD == 1 << INDEX_BITS, "an index fits its bits of a key");
_Static_assert(KLLM_MAX_MERGE <= 1 << (32 - INDEX_BITS - 1), "and so does a rank");

// ------------------------------------------------------------------------------------ byte level

// The key of a symbol: the rank of the pair it starts, then its index. The lowest key is that of
// the leftmost pair of the lowest rank.
KLLM_INLINE uint32_t pair_key(const struct vocab *v, uint32_t left, uint32_t right, uint32_t i) {
    uint32_t rank = find_pair(v, left, right);
    return rank << INDEX_BITS | i | (0 - (rank >> 31)); // without a branch, NO_KEY if no rank
}

// The lowest of a power of two of keys that is known where this is inlined.
KLLM_INLINE uint32_t lowest_key(const uint32_t *keys, uint32_t n_key) {
    uint32_t lowest = NO_KEY;
    for (uint32_t i = 0; i < n_key; i++) {
        lowest = min_u32(keys[i], lowest);
    }
    return lowest;
}

// Merges the symbols of a word of n_key bytes at most; returns which of them are left.
KLLM_INLINE uint64_t merge_keys(const struct vocab *v, uint32_t *ids, uint32_t n, uint32_t n_key) {
    uint32_t keys[SMALL_WORD];
    for (uint32_t i = 0; i + 1 < n; i++) {
        keys[i] = pair_key(v, ids[i], ids[i + 1], i);
    }
    for (uint32_t i = n - 1; i < n_key; i++) {
        keys[i] = NO_KEY;
    }
    uint64_t left = UINT64_MAX >> (SMALL_WORD - n);
    for (;;) {
        uint32_t key = lowest_key(keys, n_key);
        if (key == NO_KEY) {
            return left;
        }
        uint32_t i = key & (SMALL_WORD - 1);
        uint32_t id = v->merges[key >> INDEX_BITS];
        uint64_t after = left & UINT64_MAX << i << 1; // not empty
        keys[__builtin_ctzll(after)] = NO_KEY;
        left ^= after & (~after + 1);
        after &= after - 1;
        uint64_t before = left & (((uint64_t)1 << i) - 1);
        ids[i] = id;
        keys[i] = after ? pair_key(v, id, ids[__builtin_ctzll(after)], i) : NO_KEY;
        if (before) {
            uint32_t previous = 63 - (uint32_t)__builtin_clzll(before);
            keys[previous] = pair_key(v, ids[previous], id, previous);
        }
    }
}

static void merge_small(const struct vocab *v, uint32_t *ids, uint32_t n, struct sink *out) {
    uint64_t left = n <= SMALL_WORD / 8   ? merge_keys(v, ids, n, SMALL_WORD / 8)
                    : n <= SMALL_WORD / 4 ? merge_keys(v, ids, n, SMALL_WORD / 4)
                    : n <= SMALL_WORD / 2 ? merge_keys(v, ids, n, SMALL_WORD / 2)
                                          : merge_keys(v, ids, n, SMALL_WORD);
    for (; left != 0; left &= left - 1) {
        put_id(out, ids[__builtin_ctzll(left)]);
    }
}

void kllm_merge_word(const struct vocab *v, struct window *w, const uint8_t *word,
                     uint64_t n_bytes, struct sink *out) {
    if (n_bytes <= SMALL_WORD) {
        uint32_t ids[SMALL_WORD];
        uint32_t n = 0;
        for (uint64_t i = 0; i < n_bytes; i++) {
            ids[n] = v->byte_token[word[i]];
            n += ids[n] != NO_TOKEN;
        }
        if (n > 0) {
            merge_small(v, ids, n, out);
        }
        return;
    }
    while (n_bytes > 0) {
        uint64_t part = n_bytes < WINDOW_BYTES ? n_bytes : WINDOW_BYTES;
        uint64_t done = kllm_encode_window(v, w, word, part, part == n_bytes, out);
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
