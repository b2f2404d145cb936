// SPDX-License-Identifier: Apache-2.0
// Cuts text into words for byte-level BPE: each pre-tokenizer is a row of a table, not a regular
// expression. docs/tokenizer.md shows the expression that each row stands for.
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

// A stage cuts the pieces of the stage before it; GENERAL is the rule above.
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

struct pre {
    struct rule rule;
    uint8_t stages[MAX_STAGE];
};

static const struct pre PRES[KLLM_PRE_COUNT] = {
    [KLLM_PRE_GPT2] = {{CONTRACTION | LEAD_SPACE, 0}, {STAGE_GENERAL}},
    [KLLM_PRE_SMOLLM] = {{CONTRACTION | LEAD_SPACE | NUMBER_ENDS, 1}, {STAGE_GENERAL}},
    [KLLM_PRE_LLAMA3] = {{CONTRACTION_ANY | LEAD_ANY | TAIL_NEWLINES | NEWLINES, 3},
                         {STAGE_GENERAL}},
    [KLLM_PRE_QWEN2] = {{CONTRACTION_ANY | LEAD_ANY | TAIL_NEWLINES | NEWLINES, 1},
                        {STAGE_GENERAL}},
    [KLLM_PRE_TEKKEN] = {{LEAD_ANY | CASED | TAIL_SLASHES | NEWLINES, 1}, {STAGE_GENERAL}},
    [KLLM_PRE_GPT4O] = {{LEAD_ANY | CASED | CONTRACTION_AFTER | TAIL_SLASHES | NEWLINES, 3},
                        {STAGE_GENERAL}},
    [KLLM_PRE_FALCON] = {{CONTRACTION | LEAD_SPACE, 0},
                         {STAGE_FALCON, STAGE_GENERAL, STAGE_3_DIGITS}},
    [KLLM_PRE_DEEPSEEK_LLM] = {{0, 0},
                               {STAGE_NEWLINE, STAGE_LATIN, STAGE_MARKS, STAGE_SPACE_END,
                                STAGE_CJK, STAGE_NUMBERS}},
    [KLLM_PRE_DEEPSEEK_CODER] = {{0, 0},
                                 {STAGE_NEWLINE, STAGE_SPACE_LETTERS, STAGE_SPACE_PUNCTUATION,
                                  STAGE_CJK, STAGE_NUMBER}},
    [KLLM_PRE_DEFAULT] = {{CONTRACTION | LEAD_SPACE, 0},
                          {STAGE_PUNCTUATION, STAGE_GENERAL, STAGE_NUMBERS, STAGE_3_DIGITS}},
};

struct range {
    uint32_t first, last;
};

// The letters of deepseek-llm's second expression, as it writes them.
static const struct range LATIN[] = {
    {'A', 'Z'},         {'a', 'z'},         {0xb5, 0xb5},       {0xc0, 0xd6},
    {0xd8, 0xf6},       {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},
    {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x377},     {0x37b, 0x37d},
    {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},     {0x38c, 0x38c},
    {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
    {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},
    {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},
    {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},
    {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},   {0x1f5b, 0x1f5b},
    {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
    {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
    {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},
    {0xa680, 0xa69b},   {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},   {0xff21, 0xff3a},
    {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
    {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};
static const struct range MARKS[] = {
    {'!', '/'}, {':', '~'}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e},
};
static const struct range CJK[] = {{0x800, 0x4e00}, {0x4e00, 0x9fa5}, {0xac00, 0xd7ff}};

static uint32_t in_ranges(const struct range *ranges, uint32_t n_range, uint32_t code) {
    for (uint32_t i = 0; i < n_range && ranges[i].first <= code; i++) {
        if (code <= ranges[i].last) {
            return 1;
        }
    }
    return 0;
}

// The class of the character at pos, as a set of one; 0 at the end.
KLLM_INLINE uint32_t class_at(const struct splitter *s, uint64_t pos, uint64_t end,
                              uint32_t *n_bytes) {
    if (pos >= end) {
        *n_bytes = 0;
        return 0;
    }
    if (s->text[pos] < 0x80) {
        *n_bytes = 1;
        return 1u << s->v->classes[s->text[pos]];
    }
    uint32_t code = decode_utf8(s->text, pos, end, n_bytes);
    if (code == NOT_UTF8) {
        return OTHER;
    }
    uint32_t block = s->v->blocks[code / KLLM_CLASS_BLOCK];
    return 1u << s->v->classes[block * KLLM_CLASS_BLOCK + code % KLLM_CLASS_BLOCK];
}

// The end of the run of characters of a set.
KLLM_INLINE uint64_t run_end(const struct splitter *s, uint64_t pos, uint64_t end, uint32_t set) {
    const uint8_t *text = s->text;
    const uint8_t *classes = s->v->classes;
    for (;;) {
        while (pos < end && text[pos] < 0x80) {
            if (!(set >> classes[text[pos]] & 1)) {
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

// The lower case of an ASCII letter, and of the one letter beyond ASCII that folds to one: U+017F.
static uint32_t fold_at(const struct splitter *s, uint64_t pos, uint64_t end, uint32_t *n_bytes) {
    *n_bytes = 1;
    if (pos >= end) {
        return 0;
    }
    uint32_t byte = s->text[pos];
    if (byte == 0xc5 && end - pos > 1 && s->text[pos + 1] == 0xbf) {
        *n_bytes = 2;
        return 's';
    }
    return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
}

// The end of a contraction that starts at pos, or pos.
static uint64_t contraction_end(const struct splitter *s, uint64_t pos, uint64_t end,
                                uint32_t any_case) {
    if (pos >= end || s->text[pos] != '\'' || end - pos < 2) {
        return pos;
    }
    uint32_t n_first;
    uint32_t n_second = 1;
    uint32_t first = fold_at(s, pos + 1, end, &n_first);
    uint32_t second = fold_at(s, pos + 1 + n_first, end, &n_second);
    if (!any_case) {
        n_first = 1;
        first = s->text[pos + 1];
        second = end - pos > 2 ? s->text[pos + 2] : 0;
    }
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return pos + 1 + n_first;
    }
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
        (first == 'l' && second == 'l')) {
        return pos + 1 + n_first + n_second;
    }
    return pos;
}

// The end of [head]*[tail]+ (or, with need_head, of [head]+[tail]*) at pos; pos where it fails.
static uint64_t cased_end(const struct splitter *s, uint64_t pos, uint64_t end,
                          uint32_t need_head) {
    uint64_t both_end = pos; // after the last character of the heads that may also be a tail
    uint64_t p = pos;
    for (;;) {
        uint32_t n_bytes;
        uint32_t class = class_at(s, p, end, &n_bytes);
        if (!(class & WORD_HEAD)) {
            break;
        }
        p += n_bytes;
        if (class & WORD_TAIL) {
            both_end = p;
        }
    }
    uint64_t tail_end = run_end(s, p, end, WORD_TAIL);
    if (tail_end > p || need_head) {
        return need_head && p == pos ? pos : tail_end;
    }
    return both_end;
}

static uint64_t cased_word_end(const struct splitter *s, uint64_t pos, uint64_t end,
                               uint32_t class, uint32_t n_bytes) {
    uint32_t may_lead = !(class & (NEWLINE | LETTER | NUMBER));
    for (uint32_t need_head = 0; need_head < 2; need_head++) {
        for (uint32_t skip = may_lead; skip + 1 > 0; skip--) {
            uint64_t from = skip ? pos + n_bytes : pos;
            uint64_t to = cased_end(s, from, end, need_head);
            if (to > from) {
                return to;
            }
        }
    }
    return pos;
}

// The end of a word of letters at pos, or pos.
KLLM_INLINE uint64_t letters_end(const struct splitter *s, uint64_t pos, uint64_t end,
                                 uint32_t flags, uint32_t class, uint32_t n_bytes) {
    uint64_t word;
    if (flags & CASED) {
        word = cased_word_end(s, pos, end, class, n_bytes);
        if (word > pos && (flags & CONTRACTION_AFTER)) {
            word = contraction_end(s, word, end, 1);
        }
        return word;
    }
    if (class & LETTER) {
        return run_end(s, pos + n_bytes, end, LETTER);
    }
    if ((flags & LEAD_ANY) ? !(class & (NEWLINE | NUMBER)) : s->text[pos] == ' ') {
        word = run_end(s, pos + n_bytes, end, LETTER);
        return word > pos + n_bytes ? word : pos;
    }
    return pos;
}

static uint64_t numbers_end(const struct splitter *s, uint64_t pos, uint64_t end, uint32_t max) {
    uint32_t n_bytes;
    for (uint32_t n = 0; max == 0 || n < max; n++) {
        if (!(class_at(s, pos, end, &n_bytes) & NUMBER)) {
            break;
        }
        pos += n_bytes;
    }
    return pos;
}

// The end of the white space that starts at pos and belongs together.
static uint64_t white_end(const struct splitter *s, uint64_t pos, uint64_t end, uint32_t flags) {
    uint64_t run = run_end(s, pos, end, WHITE);
    if (flags & NEWLINES) {
        for (uint64_t p = run; p > pos; p--) {
            if (s->text[p - 1] == '\n' || s->text[p - 1] == '\r') {
                return p;
            }
        }
    }
    uint32_t n_bytes;
    uint64_t last = run - 1; // where the last character starts
    while ((s->text[last] & 0xc0) == 0x80) {
        last--;
    }
    if (run == end || last == pos ||
        ((flags & NUMBER_ENDS) && (class_at(s, run, end, &n_bytes) & NUMBER))) {
        return run;
    }
    return last; // the last one goes with the word that follows
}

static uint64_t general_end(const struct splitter *s, uint64_t pos, uint64_t end,
                            const struct rule *rule) {
    uint32_t flags = rule->flags;
    if (s->text[pos] == '\'' && (flags & (CONTRACTION | CONTRACTION_ANY))) {
        uint64_t word = contraction_end(s, pos, end, flags & CONTRACTION_ANY);
        if (word > pos) {
            return word;
        }
    }
    uint32_t n_bytes;
    uint32_t class = class_at(s, pos, end, &n_bytes);
    uint64_t word = letters_end(s, pos, end, flags, class, n_bytes);
    if (word > pos) {
        return word;
    }
    uint64_t from = s->text[pos] == ' ' ? pos + 1 : pos;
    uint32_t n_next;
    uint32_t next = from > pos ? class_at(s, from, end, &n_next) : class;
    if ((next & NUMBER) && (from == pos || ((flags & LEAD_SPACE) && !(flags & NUMBER_ENDS)))) {
        return numbers_end(s, from, end, rule->n_digit);
    }
    if (next & PLAIN) {
        word = run_end(s, from, end, PLAIN);
        while ((flags & (TAIL_NEWLINES | TAIL_SLASHES)) && word < end &&
               (s->text[word] == '\n' || s->text[word] == '\r' ||
                ((flags & TAIL_SLASHES) && s->text[word] == '/'))) {
            word++;
        }
        return word;
    }
    return white_end(s, pos, end, flags);
}

// The set of a stage: whether the character at pos is in it; its length in n_bytes.
static uint32_t in_stage(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end,
                         uint32_t *n_bytes) {
    uint32_t class = class_at(s, pos, end, n_bytes);
    if (class == 0) {
        return 0;
    }
    uint32_t code = decode_utf8(s->text, pos, end, n_bytes);
    switch (stage) {
    case STAGE_NEWLINE:
        return class & NEWLINE;
    case STAGE_NUMBER:
    case STAGE_NUMBERS:
        return class & NUMBER;
    case STAGE_3_DIGITS:
        return code >= '0' && code <= '9';
    case STAGE_FALCON:
        if (code == '`') {
            return 1;
        } // fall through
    case STAGE_PUNCTUATION:
        return (class & PUNCTUATION) || code == '$' || code == '+' ||
               (code >= '<' && code <= '>') || code == '^' || code == '~' || code == '|';
    case STAGE_SPACE_PUNCTUATION:
        return class & PUNCTUATION;
    case STAGE_SPACE_LETTERS:
        return class & LETTER;
    case STAGE_LATIN:
        return in_ranges(LATIN, sizeof(LATIN) / sizeof(LATIN[0]), code);
    case STAGE_MARKS:
        return in_ranges(MARKS, sizeof(MARKS) / sizeof(MARKS[0]), code);
    case STAGE_CJK:
        return in_ranges(CJK, sizeof(CJK) / sizeof(CJK[0]), code);
    default:
        return class & WHITE; // STAGE_SPACE_END
    }
}

// The end of a match of a stage that starts at pos, or pos.
static uint64_t stage_end(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end) {
    uint32_t n_bytes;
    uint64_t from = pos;
    uint32_t n_max = stage == STAGE_NEWLINE || stage == STAGE_NUMBER ? 1
                     : stage == STAGE_3_DIGITS                       ? 3
                                                                     : 0;
    if (!in_stage(s, stage, pos, end, &n_bytes)) {
        uint32_t may_lead = stage == STAGE_SPACE_LETTERS || stage == STAGE_SPACE_PUNCTUATION ||
                            stage == STAGE_LATIN || stage == STAGE_MARKS;
        if (!may_lead || !(class_at(s, pos, end, &n_bytes) & WHITE)) {
            return pos;
        }
        from = pos + n_bytes;
    }
    uint64_t p = from;
    uint32_t n = 0;
    while ((n_max == 0 || n < n_max) && in_stage(s, stage, p, end, &n_bytes)) {
        p += n_bytes;
        n++;
    }
    if (p == from || (stage == STAGE_3_DIGITS && n < 3) || (stage == STAGE_SPACE_END && p < end)) {
        return pos;
    }
    return p;
}

// The end of the piece that a stage cuts at pos: a match, or what lies before the next match.
static uint64_t piece_end(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end) {
    uint64_t p = stage_end(s, stage, pos, end);
    if (p > pos) {
        return p;
    }
    while (p < end && stage_end(s, stage, p, end) == p) {
        uint32_t n_bytes;
        class_at(s, p, end, &n_bytes);
        p = stage == STAGE_SPACE_END && in_stage(s, stage, p, end, &n_bytes)
                ? run_end(s, p, end, WHITE)
                : p + n_bytes;
    }
    return p;
}

void kllm_split_start(struct splitter *s, const struct vocab *v, const uint8_t *text, uint64_t pos,
                      uint64_t end) {
    s->v = v;
    s->pre = &PRES[v->head->pre];
    s->has_plain_words = s->pre->stages[0] == STAGE_GENERAL && !(s->pre->rule.flags & CASED);
    s->text = text;
    s->pos = pos;
    s->end = end;
    for (uint32_t i = 0; i < MAX_STAGE; i++) {
        s->bounds[i] = pos;
    }
}

uint64_t kllm_split_next(struct splitter *s) {
    const struct pre *pre = s->pre;
    uint64_t end = s->end;
    if (pre->stages[0] == STAGE_GENERAL) { // the only one then
        s->pos = general_end(s, s->pos, end, &pre->rule);
        return s->pos;
    }
    for (uint32_t i = 0; i < MAX_STAGE && pre->stages[i] != STAGE_NONE; i++) {
        if (s->bounds[i] == s->pos) {
            s->bounds[i] = pre->stages[i] == STAGE_GENERAL
                               ? general_end(s, s->pos, end, &pre->rule)
                               : piece_end(s, pre->stages[i], s->pos, end);
        }
        end = s->bounds[i];
    }
    s->pos = end;
    return end;
}
