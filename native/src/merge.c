// SPDX-License-Identifier: Apache-2.0
// From words to tokens: byte-level BPE by rank and SentencePiece BPE by score.
#include "vocab.h"

enum { SMALL_WORD = 48 };

// ------------------------------------------------------------------------------------ byte level

// A symbol with the rank of the pair it starts: rank << 32 | id. Pairs of one rank are equal, so the
// first of the lowest entries is the leftmost pair of the lowest rank.
KLLM_INLINE uint64_t symbol_of(const struct vocab *v, uint32_t id, uint32_t next_id) {
    return (uint64_t)find_pair(v, id, next_id) << 32 | id;
}

static void merge_small(const struct vocab *v, const uint32_t *ids, uint32_t n, struct sink *out) {
    uint64_t symbols[SMALL_WORD];
    for (uint32_t i = 0; i + 1 < n; i++) {
        symbols[i] = symbol_of(v, ids[i], ids[i + 1]);
    }
    symbols[n - 1] = (uint64_t)NO_RANK << 32 | ids[n - 1];
    for (;;) {
        uint32_t best = 0;
        uint64_t lowest = symbols[0];
        for (uint32_t i = 1; i < n; i++) {
            best = symbols[i] < lowest ? i : best;
            lowest = symbols[i] < lowest ? symbols[i] : lowest;
        }
        if (lowest >> 32 == NO_RANK) {
            break;
        }
        uint32_t id = v->merges[lowest >> 32];
        n--;
        for (uint32_t i = best + 1; i < n; i++) {
            symbols[i] = symbols[i + 1];
        }
        symbols[best] = best + 1 < n ? symbol_of(v, id, (uint32_t)symbols[best + 1])
                                     : (uint64_t)NO_RANK << 32 | id;
        if (best > 0) {
            symbols[best - 1] = symbol_of(v, (uint32_t)symbols[best - 1], id);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        put_id(out, (uint32_t)symbols[i]);
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
