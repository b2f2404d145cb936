// SPDX-License-Identifier: Apache-2.0
// Classes of characters and runs of them, for the two files that cut text into words.
#ifndef KLLM_PRETOKENIZE_H
#define KLLM_PRETOKENIZE_H

#include "encode.h"

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

enum rule_flag {
    CONTRACTION = 1,       // 's 't 're 've 'm 'll 'd first
    CONTRACTION_ANY = 2,   // the same in any case
    CONTRACTION_AFTER = 4, // in any case, as the end of a word
    LEAD_ANY = 8,          // one character but \r \n letter number may begin a word of letters
    LEAD_SPACE = 16,       // a space may begin a word of letters or of numbers
    CASED = 32,            // words of letters end where lower case turns to upper case
    TAIL_NEWLINES = 64,    // line ends belong to the punctuation before them
    TAIL_SLASHES = 128,    // line ends and slashes do
    NEWLINES = 256,        // white space up to its last line end is a word
    NUMBER_ENDS = 512,     // a number ends the text for the white space before it
};

struct rule {
    uint32_t flags;
    uint32_t n_digit; // longest word of numbers, 0 for any
};

struct pre {
    struct rule rule;
    uint8_t stages[MAX_STAGE];
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

/// Returns the end of the piece that a stage cuts at pos: a match, or all before the next match.
uint64_t kllm_stage_end(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end);

#endif
