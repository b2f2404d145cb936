// SPDX-License-Identifier: Apache-2.0
// Finds special tokens in text.
#include "encode.h"

// The byte at offset i of a token, or -1 past its end: shorter tokens sort first.
static int32_t token_byte(const struct vocab *v, uint32_t id, uint32_t i) {
    uint32_t start = v->start[id];
    return i < v->start[id + 1] - start ? v->text[start + i] : -1;
}

// The first index in [lo, hi) whose token has at offset i a byte not below byte.
static uint32_t lower_bound(const struct vocab *v, const uint32_t *ids, uint32_t lo, uint32_t hi,
                            uint32_t i, int32_t byte) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (token_byte(v, ids[mid], i) < byte) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

// The longest special token at pos that ends by end.
static struct match longest_at(const struct vocab *v, struct specials *sp, const uint8_t *text,
                               uint64_t pos, uint64_t end) {
    struct match best = {pos, 0, 0};
    uint32_t lo = 0;
    uint32_t hi = sp->n;
    for (uint32_t i = 0; pos + i < end && lo < hi; i++) {
        lo = lower_bound(v, sp->ids, lo, hi, i, text[pos + i]);
        hi = lower_bound(v, sp->ids, lo, hi, i, text[pos + i] + 1);
        if (lo < hi && token_byte(v, sp->ids[lo], i + 1) < 0) {
            best.n_bytes = i + 1;
            best.id = sp->ids[lo];
        }
    }
    if (end == sp->end && lo < hi && sp->cut_at > pos &&
        token_byte(v, sp->ids[hi - 1], (uint32_t)(end - pos)) >= 0) {
        sp->cut_at = pos;
    }
    return best;
}

static struct match first_match(const struct vocab *v, struct specials *sp, const uint8_t *text,
                                uint64_t pos, uint64_t end) {
    for (; pos < end; pos++) {
        if (sp->first[text[pos]]) {
            struct match m = longest_at(v, sp, text, pos, end);
            if (m.n_bytes > 0) {
                return m;
            }
        }
    }
    return (struct match){end, 0, 0};
}

struct match kllm_next_special(const struct vocab *v, struct specials *sp, const uint8_t *text,
                               uint64_t pos, uint64_t end) {
    struct match first = first_match(v, sp, text, pos, end);
    while (first.n_bytes > 0) {
        struct match best = first;
        for (uint64_t p = first.pos + 1; p < best.pos + best.n_bytes; p++) {
            if (sp->first[text[p]]) {
                struct match m = longest_at(v, sp, text, p, end);
                if (m.n_bytes > best.n_bytes || (m.n_bytes == best.n_bytes && m.id < best.id)) {
                    best = m;
                }
            }
        }
        if (best.pos == first.pos) {
            break;
        }
        end = best.pos; // best is certain; now what lies before it
        first = first_match(v, sp, text, pos, end);
        if (first.n_bytes == 0) {
            return best;
        }
    }
    return first;
}

void kllm_open_specials(struct specials *sp, const struct vocab *v, uint32_t flags) {
    uint32_t all = flags & KLLM_ENCODE_SPECIAL;
    sp->ids = all ? v->specials : v->specials + v->head->n_special;
    sp->n = all ? v->head->n_special : v->head->n_user;
    sp->cut_at = UINT64_MAX;
    sp->end = UINT64_MAX;
    memset(sp->first, 0, sizeof(sp->first));
    for (uint32_t i = 0; i < sp->n; i++) {
        sp->first[v->text[v->start[sp->ids[i]]]] = 1;
    }
}

uint64_t kllm_after_special(const struct vocab *v, uint32_t id, const uint8_t *text, uint64_t pos,
                            uint64_t end) {
    if (v->type[id] & KLLM_TOKEN_RSTRIP) {
        while (pos < end && (text[pos] == ' ' || (text[pos] >= '\t' && text[pos] <= '\r'))) {
            pos++;
        }
    }
    return pos;
}
