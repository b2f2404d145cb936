// SPDX-License-Identifier: Apache-2.0
// Merges the symbols of a window of text, however long the word is that it is part of.
//
// Pairs wait for their turn in a sorted queue and on a heap. What lies WINDOW_MARGIN or more before
// the end of a window is taken as final.
#include "vocab.h"

enum {
    MIN_SORTED = 512, // fewer pairs than this are not worth sorting at once
    SORT_BITS = 10,
    NIL = 0xffff,
    OFFSET_BITS = 12,
};

#define NO_PAIR 0xffffffffu

_Static_assert(sizeof(struct work) <= KLLM_ENCODE_WORK_BYTES, "work space");
_Static_assert(WINDOW_BYTES == 1 << OFFSET_BITS, "an offset fits its bits of a heap entry");
_Static_assert((32 - OFFSET_BITS) % (2 * SORT_BITS) == 0, "the sorted queue ends where it began");
_Static_assert((int)WINDOW_MARGIN >= (int)KLLM_MAX_TOKEN_BYTES,
               "the last token of a window is never final");

// ----------------------------------------------------------------------------------------- pairs

static void heap_push(struct window *w, uint32_t entry) {
    uint32_t i = w->n_heap++;
    while (i > 0 && w->heap[(i - 1) / 2] > entry) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = entry;
}

static uint32_t heap_pop(struct window *w) {
    uint32_t top = w->heap[0];
    uint32_t entry = w->heap[--w->n_heap];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->n_heap) {
            break;
        }
        if (child + 1 < w->n_heap && w->heap[child + 1] < w->heap[child]) {
            child++;
        }
        if (w->heap[child] >= entry) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = entry;
    return top;
}

// The queue takes a pair only after all that are in it; then it costs nothing to keep sorted.
KLLM_INLINE void push_pair(struct window *w, uint32_t entry) {
    if (w->queue_end - w->queue_start < WINDOW_BYTES &&
        (w->queue_end == w->queue_start || w->queue[(w->queue_end - 1) % WINDOW_BYTES] < entry)) {
        w->queue[w->queue_end++ % WINDOW_BYTES] = entry;
    } else {
        heap_push(w, entry);
    }
}

KLLM_INLINE uint32_t pop_pair(struct window *w) {
    if (w->queue_end == w->queue_start ||
        (w->n_heap > 0 && w->heap[0] < w->queue[w->queue_start % WINDOW_BYTES])) {
        return heap_pop(w);
    }
    return w->queue[w->queue_start++ % WINDOW_BYTES];
}

// ---------------------------------------------------------------------------------------- window

// The end of the symbol at offset i.
KLLM_INLINE uint32_t symbol_end(const struct window *w, uint32_t i, uint32_t n_bytes) {
    return w->next[i] == NIL ? n_bytes : w->next[i];
}

// Finds what the symbol at i makes with the one after it: the entry of the pair, NO_PAIR if nothing.
KLLM_INLINE uint32_t pair_at(const struct vocab *v, struct window *w, const uint8_t *text,
                             uint32_t n_bytes, uint32_t is_bpe, uint32_t i) {
    uint32_t right = w->next[i];
    uint32_t rank = NO_RANK;
    if (right != NIL && is_bpe) {
        rank = find_pair(v, w->ids[i], w->ids[right]);
    } else if (right != NIL) {
        uint32_t length = symbol_end(w, right, n_bytes) - i;
        uint32_t word =
            length <= KLLM_MAX_TOKEN_BYTES ? find_word(v, text + i, length, BUFFER_SLACK) : 0;
        if (word != 0) {
            w->made[i] = word & TOKEN_ID;
            rank = v->scores[w->made[i]];
        }
    }
    w->ranks[i] = rank;
    return rank == NO_RANK ? NO_PAIR : rank << OFFSET_BITS | i;
}

// Makes the symbols of a text: bytes that have a token, or characters. Returns the first.
static uint32_t start_symbols(const struct vocab *v, struct window *w, const uint8_t *text,
                              uint32_t n_bytes) {
    uint32_t first = NIL;
    uint32_t prev = NIL;
    uint32_t length = 1;
    for (uint32_t i = 0; i < n_bytes; i += length) {
        if (v->head->kind == KLLM_VOCAB_BPE) {
            w->ids[i] = v->byte_token[text[i]];
            if (w->ids[i] == NO_TOKEN) {
                continue; // as the tokenizers library has it: its neighbours meet
            }
        } else {
            decode_utf8(text, i, n_bytes, &length);
            uint32_t word = find_word(v, text + i, length, BUFFER_SLACK);
            w->ids[i] = word ? word & TOKEN_ID : NO_TOKEN;
        }
        w->prev[i] = (uint16_t)prev;
        w->next[i] = NIL;
        if (prev == NIL) {
            first = i;
        } else {
            w->next[prev] = (uint16_t)i;
        }
        prev = i;
    }
    return first;
}

static void put_byte(const struct vocab *v, uint32_t byte, struct sink *out) {
    if (v->byte_token[byte] != NO_TOKEN) {
        put_id(out, v->byte_token[byte]);
    }
}

void kllm_put_bytes(const struct vocab *v, const uint8_t *text, uint32_t n_bytes,
                    struct sink *out) {
    if (v->byte_token[0] == NO_TOKEN) { // no bytes in this vocabulary
        if (v->head->unk != NO_TOKEN) {
            put_id(out, v->head->unk);
        }
    } else if (n_bytes == 1 && text[0] == ' ') { // U+2581, which spaces stand for
        put_byte(v, 0xe2, out);
        put_byte(v, 0x96, out);
        put_byte(v, 0x81, out);
    } else {
        for (uint32_t i = 0; i < n_bytes; i++) {
            put_byte(v, text[i], out);
        }
    }
}

// Sorts the queue by rank, ten bits at a time; pairs of one rank stay in the order of the text.
static void sort_queue(struct window *w) {
    uint32_t n = w->queue_end;
    uint32_t *from = w->queue;
    uint32_t *to = w->heap; // empty by now
    for (uint32_t shift = OFFSET_BITS; shift < 32; shift += SORT_BITS) {
        uint32_t ends[1 << SORT_BITS] = {0};
        for (uint32_t i = 0; i < n; i++) {
            ends[from[i] >> shift & ((1 << SORT_BITS) - 1)]++;
        }
        for (uint32_t i = 1; i < 1 << SORT_BITS; i++) {
            ends[i] += ends[i - 1];
        }
        for (uint32_t i = n; i-- > 0;) {
            to[--ends[from[i] >> shift & ((1 << SORT_BITS) - 1)]] = from[i];
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
}

// Lists the pairs there are at the start.
KLLM_INLINE void list_pairs(const struct vocab *v, struct window *w, const uint8_t *text,
                            uint32_t n_bytes, uint32_t is_bpe, uint32_t first) {
    uint32_t n = 0;
    for (uint32_t i = first; i != NIL; i = w->next[i]) {
        w->queue[n] = pair_at(v, w, text, n_bytes, is_bpe, i);
        n += w->queue[n] != NO_PAIR;
    }
    w->n_heap = 0;
    w->queue_start = 0;
    w->queue_end = n;
    if (n >= MIN_SORTED) {
        sort_queue(w);
        return;
    }
    w->queue_end = 0;
    for (uint32_t i = 0; i < n; i++) {
        push_pair(w, w->queue[i]); // the queue is never longer than what is read of it
    }
}

KLLM_INLINE void merge_symbols(const struct vocab *v, struct window *w, const uint8_t *text,
                               uint32_t n_bytes, uint32_t is_bpe, uint32_t first) {
    list_pairs(v, w, text, n_bytes, is_bpe, first);
    while (w->n_heap > 0 || w->queue_end > w->queue_start) {
        uint32_t entry = pop_pair(w);
        uint32_t i = entry & (WINDOW_BYTES - 1);
        uint32_t rank = entry >> OFFSET_BITS;
        if (w->ranks[i] != rank) {
            continue; // one of the two has changed since
        }
        uint32_t right = w->next[i];
        w->ids[i] = is_bpe ? v->merges[rank] : w->made[i];
        w->next[i] = w->next[right];
        w->ranks[right] = NO_RANK;
        if (w->next[i] != NIL) {
            w->prev[w->next[i]] = (uint16_t)i;
        }
        uint32_t before = NO_PAIR;
        if (w->prev[i] != NIL) {
            before = pair_at(v, w, text, n_bytes, is_bpe, w->prev[i]);
        }
        uint32_t after = pair_at(v, w, text, n_bytes, is_bpe, i);
        if (before != NO_PAIR) {
            push_pair(w, before);
        }
        if (after != NO_PAIR) {
            push_pair(w, after);
        }
    }
}

uint64_t kllm_encode_window(const struct vocab *v, struct window *w, const uint8_t *text,
                            uint64_t n_bytes, uint32_t last, struct sink *out) {
    uint32_t n = (uint32_t)n_bytes;
    uint32_t first = start_symbols(v, w, text, n);
    if (v->head->kind == KLLM_VOCAB_BPE) {
        merge_symbols(v, w, text, n, 1, first);
    } else {
        merge_symbols(v, w, text, n, 0, first);
    }
    uint32_t done = 0;
    for (uint32_t i = first; i != NIL; i = w->next[i]) {
        uint32_t end = symbol_end(w, i, n);
        if (!last && done > 0 && end > n - WINDOW_MARGIN) {
            return done;
        }
        if (w->ids[i] == NO_TOKEN) {
            kllm_put_bytes(v, text + i, end - i, out);
        } else {
            put_id(out, w->ids[i]);
        }
        done = end;
    }
    return n;
}
