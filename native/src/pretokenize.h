// SPDX-License-Identifier: Apache-2.0
// Classes of characters and runs of them, for the two files that cut text into words.
#ifndef KLLM_PRETOKENIZE_H
#define KLLM_PRETOKENIZE_H

#include "vocab.h"

// Classes of characters, as sets; the numbers are those of the class table (see unicode.py).
enum {
    OTHER = 1 << 0,
    SPACE = 1 << 1,        // white space but line ends
    NEWLINE = 1 << 2,      // \r \n
    UPPER = 1 << 3,        // Lu Lt
    LOWER = 1 << 4,        // Ll
    MODIFIER = 1 << 5,     // Lm
    LETTER_OTHER = 1 << 6, // Lo
    MARK = 1 << 7,
    NUMBER = 1 << 8,
    PUNCTUATION = 1 << 9,
    SYMBOL = 1 << 10,
    WHITE = SPACE | NEWLINE,
    LETTER = UPPER | LOWER | MODIFIER | LETTER_OTHER,
    PLAIN = OTHER | MARK | PUNCTUATION | SYMBOL, // [^\s\p{L}\p{N}]
    WORD_HEAD = UPPER | MODIFIER | LETTER_OTHER | MARK,
    WORD_TAIL = LOWER | MODIFIER | LETTER_OTHER | MARK,
};

// A stage cuts the pieces of the stage before it; GENERAL is the rule of flags in pretokenize.c.
enum stage {
    STAGE_NONE = 0,
    STAGE_GENERAL,
    STAGE_NEWLINE,           // [\r\n]
    STAGE_NUMBER,            // \p{N}
    STAGE_NUMBERS,           // \p{N}+
    STAGE_3_DIGITS,          // [0-9][0-9][0-9]
    STAGE_PUNCTUATION,       // [\p{P}\$\+<=>\^~\|]+
    STAGE_FALCON,            // the same with the backtick
    STAGE_SPACE_LETTERS,     // \s?\p{L}+
    STAGE_SPACE_PUNCTUATION, // \s?\p{P}+
    STAGE_LATIN,             // \s?[the letters of deepseek-llm]+
    STAGE_MARKS,             // \s?[!-/:-~！-／：-～‘-‟　-。]+
    STAGE_SPACE_END,         // \s+$
    STAGE_CJK,               // [一-龥ࠀ-一가-퟿]+
};

// The class table's first block as sets: most text is ASCII.
static const uint16_t ASCII[128] = {
    1,    1,   1,   1,   1,    1,   1,   1,   1,   2,   4,   2,    2,    4,    1,    1,
    1,    1,   1,   1,   1,    1,   1,   1,   1,   1,   1,   1,    1,    1,    1,    1,
    2,    512, 512, 512, 1024, 512, 512, 512, 512, 512, 512, 1024, 512,  512,  512,  512,
    256,  256, 256, 256, 256,  256, 256, 256, 256, 256, 512, 512,  1024, 1024, 1024, 512,
    512,  8,   8,   8,   8,    8,   8,   8,   8,   8,   8,   8,    8,    8,    8,    8,
    8,    8,   8,   8,   8,    8,   8,   8,   8,   8,   8,   512,  512,  512,  1024, 512,
    1024, 16,  16,  16,  16,   16,  16,  16,  16,  16,  16,  16,   16,   16,   16,   16,
    16,   16,  16,  16,  16,   16,  16,  16,  16,  16,  16,  512,  1024, 512,  1024, 1,
};

// Notes that the end of what there is decided something; the ends of pieces of it do not count.
KLLM_INLINE void see_end(const struct splitter *s, uint64_t end) {
    if (end == s->end) {
        *s->saw_end = 1;
    }
}

// The class of the character at pos, as a set of one; 0 at the end.
KLLM_INLINE uint32_t class_at(const struct splitter *s, uint64_t pos, uint64_t end,
                              uint32_t *n_bytes) {
    if (pos >= end) {
        *n_bytes = 0;
        see_end(s, end);
        return 0;
    }
    if (s->text[pos] < 0x80) {
        *n_bytes = 1;
        return ASCII[s->text[pos]];
    }
    uint32_t code = decode_utf8(s->text, pos, end, n_bytes);
    if (code == NOT_UTF8) {
        if (end - pos < 4) {
            see_end(s, end); // the start of a character, perhaps
        }
        return OTHER;
    }
    uint32_t block = s->v->blocks[code / KLLM_CLASS_BLOCK];
    return 1u << s->v->classes[block * KLLM_CLASS_BLOCK + code % KLLM_CLASS_BLOCK];
}

// The end of the run of characters of a set.
KLLM_INLINE uint64_t run_end(const struct splitter *s, uint64_t pos, uint64_t end, uint32_t set) {
    const uint8_t *text = s->text;
    for (;;) {
        while (pos < end && text[pos] < 0x80) {
            if (!(set & ASCII[text[pos]])) {
                return pos;
            }
            pos++;
        }
        uint32_t n_bytes;
        if (!(class_at(s, pos, end, &n_bytes) & set)) {
            return pos;
        }
        pos += n_bytes;
    }
}

// The high bit of each of 8 bytes that is no ASCII letter.
KLLM_INLINE uint64_t non_letters(uint64_t x) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t folded = (x & 0x7f * ones) | 0x20 * ones;
    uint64_t from_a = folded + (0x80 - 'a') * ones;
    uint64_t past_z = folded + (0x7f - 'z') * ones;
    return (~from_a | past_z | x) & 0x80 * ones;
}

// The end of a run of ASCII signs that is a word of its own, from its second byte on; 0 where the
// rules have to decide.
KLLM_INLINE uint64_t signs_end(const struct splitter *s, uint64_t pos, uint64_t p) {
    const uint8_t *text = s->text;
    uint64_t start = p;
    while (p < s->end && text[p] < 0x80 && (ASCII[text[p]] & PLAIN)) {
        p++;
    }
    if (p == s->end || text[p] >= 0x80) {
        return 0;
    }
    uint32_t next = ASCII[text[p]];
    uint32_t may_lead = s->lead_any || text[pos] == '\''; // a word of letters, or a contraction
    if ((may_lead && p == start && p == pos + 1 && (next & LETTER)) ||
        (s->has_tails && (next & NEWLINE))) {
        return 0;
    }
    return p;
}

// The end of a line end or of spaces that are a word of their own, perhaps both; 0 as above.
KLLM_INLINE uint64_t spaces_end(const struct splitter *s, uint64_t pos, uint64_t readable) {
    const uint8_t *text = s->text;
    uint64_t p = pos + 1;
    uint64_t others = load_u64(text + p) ^ 0x2020202020202020u;
    while (others == 0 && readable - p >= 24) {
        p += 8;
        others = load_u64(text + p) ^ 0x2020202020202020u;
    }
    p += others == 0 ? 0 : (uint64_t)__builtin_ctzll(others) >> 3;
    if (p >= s->end || text[p] >= 0x80 || (ASCII[text[p]] & (WHITE | NUMBER))) {
        return 0;
    }
    if (text[pos] == '\n' && (s->has_tails || p == pos + 1)) {
        return pos + 1;
    }
    return p - 1; // the last space goes with the word that follows
}

// The end of a word of ASCII letters, of signs or of white space at pos; 0 where the rules have to
// decide. 32 bytes from pos on may be read.
KLLM_INLINE uint64_t quick_end(const struct splitter *s, uint64_t pos, uint64_t readable) {
    const uint8_t *text = s->text;
    uint64_t p = pos + (text[pos] == ' ');
    uint64_t others = non_letters(load_u64(text + p));
    uint64_t from = p;
    while (others == 0 && readable - p >= 24) {
        p += 8;
        others = non_letters(load_u64(text + p));
    }
    if (others == 0) {
        return 0;
    }
    p += (uint64_t)__builtin_ctzll(others) >> 3;
    if (p >= s->end) {
        return 0;
    }
    if (p > from) {
        return text[p] < 0x80 ? p : 0;
    }
    if (text[p] < 0x80 && (ASCII[text[p]] & PLAIN)) {
        return signs_end(s, pos, p + 1);
    }
    return text[p] == ' ' || text[pos] == '\n' ? spaces_end(s, pos, readable) : 0;
}

/// Returns the end of the piece that a stage cuts at pos: a match, or all before the next match.
uint64_t kllm_stage_end(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end);

#endif
