// SPDX-License-Identifier: Apache-2.0
// The stages of pre-tokenizers that cut text several times over, each the pieces of the one before.
#include "pretokenize.h"

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
static uint64_t match_end(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end) {
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

uint64_t kllm_stage_end(const struct splitter *s, uint32_t stage, uint64_t pos, uint64_t end) {
    uint64_t p = match_end(s, stage, pos, end);
    if (p > pos) {
        return p;
    }
    while (p < end && match_end(s, stage, p, end) == p) {
        uint32_t n_bytes;
        class_at(s, p, end, &n_bytes);
        p = stage == STAGE_SPACE_END && in_stage(s, stage, p, end, &n_bytes)
                ? run_end(s, p, end, WHITE)
                : p + n_bytes;
    }
    return p;
}
