// SPDX-License-Identifier: Apache-2.0
// What the files of the encoder share: its work space, and what each offers to the others.
#ifndef KLLM_ENCODE_H
#define KLLM_ENCODE_H

#include "lowest.h"
#include "vocab.h"

// Of pairs that wait to be merged: the lowest key goes first.
#define NO_KEY 0xffffffffu

// Where ids go: those that fit are written, all are counted.
struct sink {
    uint32_t *ids;
    uint64_t n_max;
    uint64_t n;
};

KLLM_INLINE void put_id(struct sink *out, uint32_t id) {
    if (out->n < out->n_max) {
        out->ids[out->n] = id;
    }
    out->n++;
}

KLLM_INLINE void put_ids(struct sink *out, const uint32_t *ids, uint64_t n) {
    if (out->n < out->n_max && out->n_max - out->n >= n) {
        memcpy(out->ids + out->n, ids, n * sizeof(ids[0]));
        out->n += n;
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        put_id(out, ids[i]);
    }
}

// One UTF-8 character at text[pos]: its code point, and its length in n_bytes. Bytes that are not
// UTF-8 are characters of one byte with the code point NOT_UTF8.
#define NOT_UTF8 0x110000u

KLLM_INLINE uint32_t decode_utf8(const uint8_t *text, uint64_t pos, uint64_t end,
                                 uint32_t *n_bytes) {
    uint32_t a = text[pos];
    uint64_t left = end - pos;
    *n_bytes = 1;
    if (a < 0x80) {
        return a;
    }
    if (a < 0xc2 || a > 0xf4 || left < 2 || (text[pos + 1] & 0xc0) != 0x80) {
        return NOT_UTF8;
    }
    uint32_t b = text[pos + 1] & 0x3f;
    if (a < 0xe0) {
        *n_bytes = 2;
        return (a & 0x1f) << 6 | b;
    }
    if (left < 3 || (text[pos + 2] & 0xc0) != 0x80) {
        return NOT_UTF8;
    }
    uint32_t c = text[pos + 2] & 0x3f;
    if (a < 0xf0) {
        uint32_t code = (a & 0x0f) << 12 | b << 6 | c;
        if (code < 0x800 || (code >= 0xd800 && code < 0xe000)) {
            return NOT_UTF8;
        }
        *n_bytes = 3;
        return code;
    }
    if (left < 4 || (text[pos + 3] & 0xc0) != 0x80) {
        return NOT_UTF8;
    }
    uint32_t code = (a & 0x07) << 18 | b << 12 | c << 6 | (text[pos + 3] & 0x3f);
    if (code < 0x10000 || code > 0x10ffff) {
        return NOT_UTF8;
    }
    *n_bytes = 4;
    return code;
}

// ------------------------------------------------------------------------------- pretokenize.c

// Cuts text into words; bounds[k] ends the piece that stage k of the rule has cut.
enum { MAX_STAGE = 6 };

struct splitter {
    const struct vocab *v;
    const struct pre *pre;
    uint32_t is_quick; // one stage: ASCII is cut a block at a time
    const uint8_t *text;
    uint64_t pos;
    uint64_t end;
    uint64_t bounds[MAX_STAGE];
    uint32_t *saw_end; // set where the end of the text, and not what stands there, decided
};

void kllm_split_start(struct splitter *s, const struct vocab *v, const uint8_t *text, uint64_t pos,
                      uint64_t end, uint32_t *saw_end);

/// Returns the end of the word that starts at s->pos (before s->end), and moves s->pos there.
uint64_t kllm_split_next(struct splitter *s);

// -------------------------------------------------------------------------------------- window.c

enum {
    WINDOW_BYTES = 4096,
    WINDOW_MARGIN = 1024, // what the end of a window may still change, unless the word ends there
    WINDOW_BUFFER = 8192,
    BRANCH = 8,        // keys whose lowest is found at once, by lowest_of
    BUFFER_SLACK = 16, // may be read past any byte of the buffer
};

// The best way to each byte of a stretch of text: its last token, and where that starts.
struct ways {
    double sums[WINDOW_BYTES + 1];
    uint32_t ids[WINDOW_BYTES + 1];
    uint16_t from[WINDOW_BYTES + 1];
};

// Symbols of a stretch of text, by the offset of their first byte.
struct window {
    uint32_t ids[WINDOW_BYTES];
    uint16_t next[WINDOW_BYTES];
    union {
        struct {
            uint16_t prev[WINDOW_BYTES];
            uint32_t made[WINDOW_BYTES]; // SentencePiece: the token that the pair there makes
            uint32_t keys[WINDOW_BYTES]; // of the pair that a symbol starts, the lowest first
            // The lowest of so many keys, of so many of these, and of so many of those.
            uint32_t lows[WINDOW_BYTES / BRANCH];
            uint32_t mids[WINDOW_BYTES / BRANCH / BRANCH];
            uint32_t tops[WINDOW_BYTES / BRANCH / BRANCH / BRANCH];
        };
        struct ways ways; // unigram
    };
    uint8_t buffer[WINDOW_BUFFER + BUFFER_SLACK]; // SentencePiece: text with its spaces made plain
};

// What words became that are no token, found by their bytes.
enum {
    CACHED_BYTES = 16,
    CACHED_IDS = 4,
    CACHED_ROOM = 124,
    CACHE_SHORTS = 8, // in a unit of the cache
    N_CACHE_UNITS = 277,
};

struct cached {
    uint64_t lo, hi;
    uint32_t ids[CACHED_IDS]; // above TOKEN_ID: of the first the word's bytes, 0 where nothing is
                              // here; of the second the number of ids
};

// A word that is longer or has more ids: its bytes, padded to a multiple of 4, then its ids.
struct cached_long {
    uint16_t n_bytes; // 0: nothing here
    uint16_t n_id;
    uint32_t room[CACHED_ROOM / 4];
};

struct cache_unit {
    struct cached shorts[CACHE_SHORTS];
    struct cached_long one_long;
};

// A text that comes in pieces.
struct stream {
    uint32_t flags;
    uint32_t is_started; // bos is written
    uint32_t n_within;   // 0: a word begins what waits; else it goes on, n - 1 bytes are encoded
    uint32_t is_start;   // a space may be put before it
    uint32_t after;      // the special token before it, plus 1
    uint64_t n_bytes;
    uint8_t text[KLLM_STREAM_BYTES + BUFFER_SLACK];
};

// The work space of an encoder.
struct work {
    struct window window;
    struct stream stream;
    uint32_t n_more; // units of the cache beyond those here
    struct cache_unit cache[N_CACHE_UNITS];
};

/// Merges the symbols of text[0, n_bytes) and writes those that are certain; all where last is 1.
///
/// n_bytes is 1 .. WINDOW_BYTES; SentencePiece: text lies in w->buffer. Returns the number of bytes
/// written, 1 or more.
uint64_t kllm_encode_window(const struct vocab *v, struct window *w, const uint8_t *text,
                            uint64_t n_bytes, uint32_t last, struct sink *out);

// --------------------------------------------------------------------------------------- merge.c

enum { MAX_SHORT = 62 }; // bytes of a word that is merged on the stack

/// Merges the bytes of a word of up to MAX_SHORT bytes that is not in the word table.
///
/// @param[out] ids  room for MAX_SHORT
///
/// Returns the number of ids.
uint32_t kllm_merge_short(const struct vocab *v, const uint8_t *word, uint32_t n_bytes,
                          uint32_t *ids);

/// Encodes a word of byte-level BPE that is not in the word table: n_bytes (1 or more) bytes.
void kllm_merge_word(const struct vocab *v, struct window *w, const uint8_t *word,
                     uint64_t n_bytes, struct sink *out);

// The end of the word at the start of a text: where a space follows anything but a space.
KLLM_INLINE uint32_t spaced_word_end(const struct vocab *v, const uint8_t *text,
                                     uint32_t n_bytes) {
    uint32_t i = 1;
    if (!(v->head->flags & KLLM_VOCAB_SPACE_SPLITS)) {
        return n_bytes;
    }
    while (i < n_bytes && (text[i] != ' ' || text[i - 1] == ' ')) {
        i++;
    }
    return i;
}

/// Writes a character of SentencePiece that is no token: its bytes, or the unknown token.
void kllm_put_bytes(const struct vocab *v, const uint8_t *text, uint32_t n_bytes,
                    struct sink *out);

/// Encodes a stretch of text by SentencePiece's rules, with a space before it where prefix is 1.
///
/// last is 0 where more of the text is to come. Returns the bytes that are encoded, all if last.
uint64_t kllm_encode_spm(const struct vocab *v, struct window *w, const uint8_t *text,
                         uint64_t n_bytes, uint32_t prefix, uint32_t last, struct sink *out);

// ------------------------------------------------------------------------------------- unigram.c

/// As kllm_encode_window, for unigram vocabularies.
uint64_t kllm_encode_ways(const struct vocab *v, struct window *w, const uint8_t *text,
                          uint32_t n_bytes, uint32_t last, struct sink *out);

/// Encodes a stretch of text of a unigram vocabulary; is_start: nothing of it came before.
///
/// Text goes on after it only from a space on.
void kllm_encode_unigram(const struct vocab *v, struct window *w, const uint8_t *text,
                         uint64_t n_bytes, uint32_t is_start, struct sink *out);

// ------------------------------------------------------------------------------------- special.c

struct match {
    uint64_t pos;
    uint64_t n_bytes; // 0: none
    uint32_t id;
};

// The tokens that are looked for in a text: ids sorted by their bytes.
struct specials {
    const uint32_t *ids;
    uint32_t n;
    uint64_t end;       // of a text that may go on
    uint64_t cut_at;    // the first place where that end may have cut one off
    uint8_t first[256]; // whether one starts with this byte
};

void kllm_open_specials(struct specials *sp, const struct vocab *v, uint32_t flags);

/// Returns the first special token in text[pos, end), one of 0 bytes at end if there is none.
///
/// Of those that overlap, longer ones are found before shorter ones, then lower ids, then the
/// leftmost.
struct match kllm_next_special(const struct vocab *v, struct specials *sp, const uint8_t *text,
                               uint64_t pos, uint64_t end);

/// Returns where text goes on after a special token that ends at pos.
uint64_t kllm_after_special(const struct vocab *v, uint32_t id, const uint8_t *text, uint64_t pos,
                            uint64_t end);

// ------------------------------------------------------------------------------------ tokenize.c

// A part of a text without special tokens.
struct stretch {
    uint64_t pos;
    uint64_t end;
    uint64_t readable; // end of what may be read
    uint32_t is_open;  // more may follow
    uint64_t certain;  // open: words that end up to here are taken as they are
};

/// Encodes the words of byte-level BPE of a stretch; returns the end of the last, where it is open
/// before the first that what follows may change.
uint64_t kllm_encode_words(const struct vocab *v, struct work *w, const uint8_t *text,
                           struct stretch part, struct sink *out);

#endif
