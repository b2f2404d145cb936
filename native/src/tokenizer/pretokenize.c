// SPDX-License-Identifier: Apache-2.0
// Cuts text into words for byte-level BPE: each pre-tokenizer is a row of a table, not a regular
// expression. docs/tokenizer.md shows the expression that each row stands for.
#include "pretokenize.h"

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

// The lower case of an ASCII letter, and of the one letter beyond ASCII that folds to one: U+017F.
static uint32_t fold_at(const struct splitter *s, uint64_t pos, uint64_t end, uint32_t *n_bytes) {
    *n_bytes = 1;
    if (end - pos < 2) {
        see_end(s, end);
    }
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
    if (end - pos < 4) {
        see_end(s, end);
    }
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
        if (word == end) {
            see_end(s, end);
        }
        return word;
    }
    return white_end(s, pos, end, flags);
}

void kllm_split_start(struct splitter *s, const struct vocab *v, const uint8_t *text, uint64_t pos,
                      uint64_t end, uint32_t *saw_end) {
    s->v = v;
    s->pre = &PRES[v->head->pre];
    s->is_quick = s->pre->stages[0] == STAGE_GENERAL;
    s->text = text;
    s->pos = pos;
    s->end = end;
    s->saw_end = saw_end;
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
                               : kllm_stage_end(s, pre->stages[i], s->pos, end);
        }
        end = s->bounds[i];
    }
    s->pos = end;
    return end;
}
