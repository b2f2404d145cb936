// SPDX-License-Identifier: Apache-2.0
// Cuts ASCII text into words a block at a time: each class of characters is a set of the block's
// bytes, one bit for each, and the rules are operations on these sets.
#ifndef KLLM_BLOCKS_H
#define KLLM_BLOCKS_H

#include "byte_sets.h"
#include "pretokenize.h"

enum {
    BLOCK_BYTES = 64,
    BLOCK_KNOWN = 63, // bytes of a block that count: the last bit stands for what is past them
};

// The bytes of a block by their class.
struct block {
    uint64_t letters;
    uint64_t uppers; // A .. Z
    uint64_t numbers;
    uint64_t white;
    uint64_t spaces;   // ' ' alone
    uint64_t newlines; // \r \n
    uint64_t slashes;  // /
    uint64_t quotes;   // '
    uint64_t others;   // not ASCII
};

KLLM_INLINE struct block read_block(const uint8_t *text, uint32_t flags) {
    struct bytes_64 bytes = load_64(text);
    uint64_t spaces = byte_set(bytes, ' ');
    struct block b = {
        .letters = range_set(with_bits(bytes, 0x20), 'a', 'z'),
        .numbers = range_set(bytes, '0', '9'),
        .white = range_set(bytes, '\t', '\r') | spaces,
        .spaces = spaces,
        .quotes = byte_set(bytes, '\''),
        .others = high_set(bytes),
    };
    if (flags & LEAD_ANY) {
        b.newlines = byte_set(bytes, '\n') | byte_set(bytes, '\r');
    }
    if (flags & CASED) {
        b.uppers = range_set(bytes, 'A', 'Z');
        b.slashes = byte_set(bytes, '/');
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

// The length of the contraction that an apostrophe and a letter begin, 0 if none does; n bytes (2
// or more) are there.
KLLM_INLINE uint32_t contraction_bytes(const uint8_t *text, uint32_t n, uint32_t fold) {
    uint32_t a = text[1] | fold;
    uint32_t b = n > 2 ? text[2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// The bytes of a block at which words start, those that are certain: the first byte starts one.
//
// n bytes (BLOCK_KNOWN at most) are there; if is_end, the text ends behind them and a word starts
// there, else what follows them is not known.
KLLM_INLINE uint64_t word_starts(const uint8_t *text, uint32_t n, uint32_t is_end, uint32_t flags,
                                 uint32_t n_digit) {
    uint32_t lead_any = flags & LEAD_ANY;
    struct block b = read_block(text, flags);
    // Whether a slash goes with the line end before it depends on all that goes before.
    uint64_t unknown = b.others | (b.slashes & b.newlines << 1);
    if (unknown != 0 && lowest_bit(unknown) < n) {
        n = lowest_bit(unknown);
        is_end = 0;
    }
    if (n < 2) {
        return 0;
    }
    uint64_t behind = (uint64_t)is_end << n;
    if (is_end) { // as white space does it ends a word, and what is white stays together
        b.letters &= behind - 1;
        b.numbers &= behind - 1;
        b.newlines &= behind - 1;
        b.white = (b.white & (behind - 1)) | behind;
    }
    uint64_t plain = ~(b.letters | b.numbers | b.white);
    // Of the last byte it matters what follows.
    uint64_t certain = bits_below(n - 1 + is_end) | behind;
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
        uint64_t ends = (blank + after) & ~blank & (b.newlines | (uint64_t)!is_end << n);
        if (ends != 0) { // a line end follows, or may follow: the one before was not the last
            certain &=
                bits_below(63 - (uint32_t)__builtin_clzll(after & bits_below(lowest_bit(ends))));
        }
        last &= ~b.newlines;
        uint64_t alone = plain & ~(plain << 1) & ~(plain >> 1) & ~((last & b.spaces) << 1);
        uint64_t leads = (last | alone) & b.letters >> 1;
        starts |= b.uppers & (b.letters & ~b.uppers) << 1;
        starts = (starts | last | after) &
                 ~((leads | (last & b.spaces & plain >> 1)) << 1 | (plain << 1 & b.newlines));
    } else {
        last &= flags & NUMBER_ENDS ? ~(b.numbers >> 1) : UINT64_MAX;
        starts = (starts | last) & ~((last & b.spaces) << 1);
    }
    uint64_t quotes = b.quotes & b.letters >> 1 & certain;
    quotes &= flags & CONTRACTION_AFTER ? b.letters << 1 : flags & CASED ? 0 : starts;
    while (quotes != 0) {
        uint32_t i = lowest_bit(quotes);
        quotes &= quotes - 1;
        uint32_t from = flags & CONTRACTION_AFTER ? i : i + 1;
        if (i + 4 > n && !is_end) {
            certain &= bits_below(from);
            break;
        }
        uint32_t length = contraction_bytes(text + i, n - i, flags & CONTRACTION ? 0 : 0x20);
        if (length > 0) {
            uint64_t end = (uint64_t)1 << (i + length);
            starts = (starts & ~(end - ((uint64_t)1 << from))) | end;
            if (flags & CONTRACTION_AFTER) {
                quotes &= ~end; // a word has one
            }
        }
    }
    return (starts | behind) & certain & ~(uint64_t)1;
}

#endif
