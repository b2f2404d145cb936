// SPDX-License-Identifier: Apache-2.0
// Cuts ASCII text into words a block at a time: each class of characters is a set of the block's
// bytes, one bit for each, and the rules are operations on these sets.
#ifndef KLLM_BLOCKS_H
#define KLLM_BLOCKS_H

#include "pretokenize.h"

enum {
    BLOCK_BYTES = 64,
    BLOCK_KNOWN = 63, // bytes of a block that count: the last bit stands for what is past them
};

// The bytes of a block by their class.
struct block {
    uint64_t letters;
    uint64_t numbers;
    uint64_t white;
    uint64_t spaces;   // ' ' alone
    uint64_t newlines; // \r \n
    uint64_t quotes;   // '
    uint64_t others;   // not ASCII
};

// The high bits of 8 bytes, as 8 bits.
KLLM_INLINE uint64_t high_bits(uint64_t x) {
    return (x & 0x8080808080808080u) * 0x0002040810204081u >> 56;
}

// In the high bit of each of 8 bytes below 0x80: whether it lies in first .. last.
KLLM_INLINE uint64_t within(uint64_t x, uint64_t first, uint64_t last) {
    const uint64_t ones = 0x0101010101010101u;
    return (x + (0x80 - first) * ones) & ~(x + (0x7f - last) * ones);
}

// In the high bit of each of 8 bytes below 0x80: whether it is a byte.
KLLM_INLINE uint64_t equal(uint64_t x, uint64_t byte) {
    const uint64_t ones = 0x0101010101010101u;
    return ~((x ^ byte * ones) + 0x7f * ones);
}

KLLM_INLINE struct block read_block(const uint8_t *text, uint32_t has_newlines) {
    const uint64_t ones = 0x0101010101010101u;
    struct block b = {0, 0, 0, 0, 0, 0, 0};
    uint64_t any_quote = 0;
    uint64_t any_other = 0;
    KLLM_UNROLL
    for (uint32_t i = BLOCK_BYTES; i > 0; i -= 8) {
        uint64_t bytes = load_u64(text + i - 8);
        uint64_t x = bytes & 0x7f * ones;
        b.letters = b.letters << 8 | high_bits(within(x | 0x20 * ones, 'a', 'z'));
        b.numbers = b.numbers << 8 | high_bits(within(x, '0', '9'));
        b.white = b.white << 8 | high_bits(within(x, '\t', '\r'));
        b.spaces = b.spaces << 8 | high_bits(equal(x, ' '));
        if (has_newlines) {
            b.newlines = b.newlines << 8 | high_bits(equal(x, '\n') | equal(x, '\r'));
        }
        any_quote |= equal(x, '\'');
        any_other |= bytes;
    }
    b.white |= b.spaces;
    if (((any_quote | any_other) & 0x80 * ones) != 0) { // few blocks have them
        for (uint32_t i = BLOCK_BYTES; i > 0; i -= 8) {
            uint64_t bytes = load_u64(text + i - 8);
            b.quotes = b.quotes << 8 | high_bits(equal(bytes & 0x7f * ones, '\''));
            b.others = b.others << 8 | high_bits(bytes);
        }
    }
    return b;
}

KLLM_INLINE uint32_t lowest_bit(uint64_t set) { // one is set
    return (uint32_t)__builtin_ctzll(set);
}

KLLM_INLINE uint64_t bits_below(uint64_t n) { // n is 63 at most
    return ((uint64_t)1 << n) - 1;
}

// The bytes that are of a set and follow another one of it.
KLLM_INLINE uint64_t going_on(uint64_t set) {
    return set & set << 1;
}

// Every third number of a run of them.
KLLM_INLINE uint64_t triples(uint64_t numbers) {
    uint64_t all = 0;
    uint64_t next = numbers & ~(numbers << 1);
    while (next != 0) {
        all |= next;
        next = next << 3 & numbers & numbers << 1 & numbers << 2;
    }
    return all;
}

// The length of the contraction that an apostrophe and a letter begin, 0 if none does.
KLLM_INLINE uint32_t contraction_bytes(const uint8_t *text, uint32_t fold) {
    uint32_t a = text[1] | fold;
    uint32_t b = text[2] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// The bytes of a block at which words start, those that are certain: the first byte starts one.
//
// n bytes (BLOCK_KNOWN at most) are there; what follows them is not known.
KLLM_INLINE uint64_t word_starts(const uint8_t *text, uint32_t n, uint32_t flags,
                                 uint32_t n_digit) {
    uint32_t lead_any = flags & LEAD_ANY;
    struct block b = read_block(text, lead_any);
    if (b.others != 0) {
        n = min_u32(n, lowest_bit(b.others));
    }
    if (n < 2) {
        return 0;
    }
    uint64_t plain = ~(b.letters | b.numbers | b.white);
    uint64_t certain = bits_below(n - 1); // of the last byte it matters what follows
    uint64_t starts =
        ~(going_on(b.letters) | going_on(b.numbers) | going_on(plain) | going_on(b.white));
    uint64_t last = b.white & ~(b.white >> 1); // of white space: a word of its own, perhaps
    if (n_digit == 1) {
        starts |= b.numbers;
    } else if (n_digit == 3) {
        starts |= triples(b.numbers);
    }
    if (lead_any) {
        // Line ends after signs go with them; white space up to its last line end is a word.
        uint64_t blank = b.white & ~b.newlines & bits_below(n);
        uint64_t after = b.newlines << 1 & blank;
        uint64_t ends = (blank + after) & ~blank & (b.newlines | (uint64_t)1 << n);
        if (ends != 0) { // a line end follows, or may follow: the one before was not the last
            certain &=
                bits_below(63 - (uint32_t)__builtin_clzll(after & bits_below(lowest_bit(ends))));
        }
        last &= ~b.newlines;
        uint64_t alone = plain & ~(plain << 1) & ~(plain >> 1) & ~((last & b.spaces) << 1);
        uint64_t leads = (last | alone) & b.letters >> 1;
        starts = (starts | last | after) &
                 ~((leads | (last & b.spaces & plain >> 1)) << 1 | (plain << 1 & b.newlines));
    } else {
        last &= flags & NUMBER_ENDS ? ~(b.numbers >> 1) : UINT64_MAX;
        starts = (starts | last) & ~((last & b.spaces) << 1);
    }
    uint64_t quotes = b.quotes & starts & b.letters >> 1 & certain;
    for (; quotes != 0; quotes &= quotes - 1) {
        uint32_t i = lowest_bit(quotes);
        if (i + 4 > n) {
            certain &= bits_below(i + 1);
            break;
        }
        uint32_t length = contraction_bytes(text + i, flags & CONTRACTION_ANY ? 0x20 : 0);
        if (length > 0) {
            starts &= ~(bits_below(i + length) & ~bits_below(i + 1));
            starts |= (uint64_t)1 << (i + length);
        }
    }
    return starts & certain & ~(uint64_t)1;
}

#endif
