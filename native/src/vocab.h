// SPDX-License-Identifier: Apache-2.0
// The tables of a vocab section as pointers, and the two look-ups that everything is built on.
#ifndef KLLM_VOCAB_H
#define KLLM_VOCAB_H

#include "base.h"

#define NO_TOKEN ((uint32_t)KLLM_NO_TOKEN)
#define NO_RANK 0xffffffffu

enum {
    TOKEN_ID = 0xfffff, // of kllm_word.token
    TOKEN_LENGTH_SHIFT = 20,
    TOKEN_LENGTH = 15,
    TOKEN_WHOLE = 1 << 24,
    SHORT_BYTES = 12, // texts up to here stand in the word table themselves
};

struct vocab {
    const struct kllm_vocab *head;
    const uint32_t *start;
    const uint8_t *text;
    const uint8_t *type;
    const uint32_t *byte_token;
    const struct kllm_word *words;
    const uint64_t *pairs;
    const uint32_t *merges;
    const uint32_t *scores;
    const double *values; // unigram
    const uint32_t *specials;
    const uint16_t *blocks;
    const uint8_t *classes;
    uint64_t word_mask; // slots of the word table, less one
    uint64_t pair_mask;
    uint32_t word_shift; // what brings the bits of a hash that choose the slot down
    uint32_t pair_shift;
};

KLLM_INLINE struct vocab vocab_open(const void *section) {
    const struct kllm_vocab *h = section;
    const uint8_t *base = section;
    return (struct vocab){
        .head = h,
        .start = (const uint32_t *)(base + h->start_off),
        .text = base + h->text_off,
        .type = base + h->type_off,
        .byte_token = (const uint32_t *)(base + h->byte_off),
        .words = (const struct kllm_word *)(base + h->word_off),
        .pairs = (const uint64_t *)(base + h->pair_off),
        .merges = (const uint32_t *)(base + h->merge_off),
        .scores = (const uint32_t *)(base + h->score_off),
        .values = (const double *)(const void *)(base + h->score_off),
        .specials = (const uint32_t *)(base + h->special_off),
        .blocks = (const uint16_t *)(base + h->class_off),
        .classes = base + h->class_off + KLLM_CLASS_BLOCKS * 2,
        .word_mask = ((uint64_t)1 << h->word_bits) - 1,
        .pair_mask = ((uint64_t)1 << h->pair_bits) - 1,
        .word_shift = 32 - h->word_bits,
        .pair_shift = 32 - h->pair_bits,
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
    x *= 0x9e3779b97f4a7c15u;
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

// What is left of 8 bytes when only the first n count.
static const uint64_t FIRST_BYTES[9] = {
    0,
    0xff,
    0xffff,
    0xffffff,
    0xffffffff,
    0xffffffffff,
    0xffffffffffff,
    0xffffffffffffff,
    0xffffffffffffffff,
};

KLLM_INLINE struct text_key short_key(const uint8_t *bytes, uint64_t n_bytes, uint64_t readable) {
    if (readable < 16) {
        return (struct text_key){load_bytes(bytes, n_bytes < 8 ? n_bytes : 8),
                                 n_bytes > 8 ? load_bytes(bytes + 8, n_bytes - 8) : 0};
    }
    // Without branches, which would be mispredicted as often as words are short and long in turn.
    uint64_t n_hi = n_bytes > 8 ? n_bytes - 8 : 0;
    return (struct text_key){load_u64(bytes) & FIRST_BYTES[n_bytes - n_hi],
                             load_u64(bytes + 8) & FIRST_BYTES[n_hi]};
}

// Finds a token by its text: the token field of its slot, 0 if there is none.
//
// n_bytes is 1 or more; readable bytes from the start of the text may be read, n_bytes or more.
KLLM_INLINE uint32_t find_word(const struct vocab *v, const uint8_t *bytes, uint64_t n_bytes,
                               uint64_t readable) {
    uint64_t lo;
    uint64_t hi = 0;
    uint32_t length = TOKEN_LENGTH;
    if (n_bytes > SHORT_BYTES) {
        lo = hash_long(bytes, n_bytes);
    } else {
        length = (uint32_t)n_bytes;
        struct text_key key = short_key(bytes, n_bytes, readable);
        lo = key.lo;
        hi = key.hi;
    }
    uint64_t i = mix(mix(lo) + hi) >> v->word_shift & v->word_mask;
    for (;; i = (i + 1) & v->word_mask) {
        const struct kllm_word *w = &v->words[i];
        if (w->token == 0) {
            return 0;
        }
        if (w->key_lo == lo && w->key_hi == (uint32_t)hi &&
            (w->token >> TOKEN_LENGTH_SHIFT & TOKEN_LENGTH) == length &&
            (length != TOKEN_LENGTH || same_bytes(v, w->token & TOKEN_ID, bytes, n_bytes))) {
            return w->token;
        }
    }
}

// Finds the rank of a merge, NO_RANK if the pair does not merge.
KLLM_INLINE uint32_t find_pair(const struct vocab *v, uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 20 | right;
    uint64_t i = mix(key) >> v->pair_shift & v->pair_mask;
    for (;; i = (i + 1) & v->pair_mask) {
        uint64_t slot = v->pairs[i];
        if (slot == UINT64_MAX) {
            return NO_RANK;
        }
        if (slot >> 24 == key) {
            return (uint32_t)(slot & 0xffffff);
        }
    }
}

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
    uint32_t is_quick;  // one stage, and words of letters do not depend on their case
    uint32_t lead_any;  // of its rule: a sign may begin a word of letters
    uint32_t has_tails; // and line ends may belong to the signs before them
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
            uint32_t ranks[WINDOW_BYTES]; // of the pair with the next symbol
            uint32_t made[WINDOW_BYTES];  // SentencePiece: the token that pair makes
            // Pairs, rank << 12 | offset: those that came in order wait in the queue, others on
            // the heap.
            uint32_t queue[WINDOW_BYTES]; // a ring, sorted
            uint32_t queue_start;
            uint32_t queue_end;
            uint32_t heap[2 * WINDOW_BYTES]; // the lowest first
            uint32_t n_heap;
        };
        struct ways ways; // unigram
    };
    uint8_t buffer[WINDOW_BUFFER + BUFFER_SLACK]; // SentencePiece: text with its spaces made plain
};

// What words became that are no token, found by their bytes.
enum {
    CACHED_BYTES = 16,
    CACHED_IDS = 11,
    N_CACHED = 1024,
};

struct cached {
    uint64_t lo, hi;
    uint32_t ids[CACHED_IDS];
    uint16_t n_bytes; // 0: nothing here
    uint16_t n_id;
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
    struct cached cache[N_CACHED];
    struct stream stream;
};

/// Merges the symbols of text[0, n_bytes) and writes those that are certain; all where last is 1.
///
/// n_bytes is 1 .. WINDOW_BYTES; SentencePiece: text lies in w->buffer. Returns the number of bytes written, 1 or more.
uint64_t kllm_encode_window(const struct vocab *v, struct window *w, const uint8_t *text,
                            uint64_t n_bytes, uint32_t last, struct sink *out);

// --------------------------------------------------------------------------------------- merge.c

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
