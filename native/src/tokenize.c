// SPDX-License-Identifier: Apache-2.0
// kllm_encode and kllm_decode: special tokens, words between them, and the way back.
#include "vocab.h"

// ---------------------------------------------------------------------------------------- special

struct match {
    uint64_t pos;
    uint64_t n_bytes; // 0: none
    uint32_t id;
};

// The tokens that are looked for in a text: ids sorted by their bytes.
struct specials {
    const uint32_t *ids;
    uint32_t n;
    uint8_t first[256]; // whether one starts with this byte
};

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
static struct match longest_at(const struct vocab *v, const struct specials *sp,
                               const uint8_t *text, uint64_t pos, uint64_t end) {
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
    return best;
}

static struct match first_match(const struct vocab *v, const struct specials *sp,
                                const uint8_t *text, uint64_t pos, uint64_t end) {
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

// The first special token in text[pos, end). Of those that overlap, longer ones are found before
// shorter ones, then lower ids, then the leftmost.
static struct match next_special(const struct vocab *v, const struct specials *sp,
                                 const uint8_t *text, uint64_t pos, uint64_t end) {
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

static void open_specials(struct specials *sp, const struct vocab *v, uint32_t flags) {
    uint32_t all = flags & KLLM_ENCODE_SPECIAL;
    sp->ids = all ? v->specials : v->specials + v->head->n_special;
    sp->n = all ? v->head->n_special : v->head->n_user;
    memset(sp->first, 0, sizeof(sp->first));
    for (uint32_t i = 0; i < sp->n; i++) {
        sp->first[v->text[v->start[sp->ids[i]]]] = 1;
    }
}

// ----------------------------------------------------------------------------------------- encode

static void encode_bpe(const struct vocab *v, struct window *w, const uint8_t *text, uint64_t pos,
                       uint64_t end, uint64_t n_bytes, struct sink *out) {
    struct splitter s;
    kllm_split_start(&s, v, text, pos, end);
    while (pos < end) {
        uint64_t next = s.has_plain_words ? plain_word_end(&s, pos) : pos;
        if (next == pos) {
            s.pos = pos;
            next = kllm_split_next(&s);
        }
        uint64_t length = next - pos;
        uint32_t found =
            length <= KLLM_MAX_TOKEN_BYTES ? find_word(v, text + pos, length, n_bytes - pos) : 0;
        if (found != 0) {
            put_id(out, found & TOKEN_ID);
        } else {
            kllm_merge_word(v, w, text + pos, length, out);
        }
        pos = next;
    }
}

static void encode_text(const struct vocab *v, struct window *w, const uint8_t *text,
                        uint64_t n_bytes, uint32_t flags, struct sink *out) {
    struct specials sp;
    open_specials(&sp, v, flags);
    uint32_t prefix = (v->head->flags & KLLM_VOCAB_SPACE_PREFIX) != 0;
    if ((flags & KLLM_ENCODE_AFFIX) && (v->head->flags & KLLM_VOCAB_ADD_BOS)) {
        put_id(out, v->head->bos);
    }
    for (uint64_t pos = 0; pos < n_bytes;) {
        struct match m = {n_bytes, 0, 0};
        if (sp.n > 0) {
            m = next_special(v, &sp, text, pos, n_bytes);
        }
        if (m.pos > pos && v->head->kind == KLLM_VOCAB_BPE) {
            encode_bpe(v, w, text, pos, m.pos, n_bytes, out);
        } else if (m.pos > pos) {
            kllm_encode_spm(v, w, text + pos, m.pos - pos, prefix, out);
        }
        if (m.n_bytes > 0) {
            put_id(out, m.id);
        }
        pos = m.pos + m.n_bytes;
    }
    if ((flags & KLLM_ENCODE_AFFIX) && (v->head->flags & KLLM_VOCAB_ADD_EOS)) {
        put_id(out, v->head->eos);
    }
}

int32_t kllm_encode(const void *vocab, void *work, const uint8_t *text, uint64_t n_bytes,
                    uint32_t flags, uint32_t *ids, uint64_t n_ids, uint64_t *n_out) {
    struct vocab v = vocab_open(vocab);
    struct sink out = {ids, n_ids, 0};
    // At most one id for a byte; SentencePiece: 3, as many for the space before it; bos and eos.
    uint64_t n_each = v.head->kind == KLLM_VOCAB_BPE ? 1 : 6;
    if (n_ids < 5 || (n_ids - 5) / n_each < n_bytes) {
        struct sink count = {NULL, 0, 0};
        encode_text(&v, work, text, n_bytes, flags, &count);
        *n_out = count.n;
        if (count.n > n_ids) {
            return KLLM_ERR_SPACE;
        }
    }
    encode_text(&v, work, text, n_bytes, flags, &out);
    *n_out = out.n;
    return KLLM_OK;
}

// ----------------------------------------------------------------------------------------- decode

// The bytes that a token gives: v->text[*start, + result); is_start says that a text begins here.
KLLM_INLINE uint64_t piece_of(const struct vocab *v, uint32_t id, uint32_t flags,
                              uint32_t is_start, uint32_t *start) {
    uint32_t type = v->type[id];
    *start = v->start[id];
    uint64_t n_bytes = v->start[id + 1] - *start;
    if ((type == KLLM_TOKEN_CONTROL || type == KLLM_TOKEN_UNKNOWN) &&
        !(flags & KLLM_DECODE_SPECIAL)) {
        return 0;
    }
    if (is_start && type == KLLM_TOKEN_NORMAL && n_bytes > 0 && v->text[*start] == ' ') {
        *start += 1;
        n_bytes--;
    }
    return n_bytes;
}

KLLM_INLINE uint32_t is_special(uint32_t type) {
    return type == KLLM_TOKEN_CONTROL || type == KLLM_TOKEN_UNKNOWN || type == KLLM_TOKEN_USER;
}

int32_t kllm_decode(const void *vocab, const uint32_t *ids, uint64_t n_ids, uint32_t flags,
                    uint8_t *text, uint64_t n_bytes, uint64_t *n_out) {
    struct vocab v = vocab_open(vocab);
    uint32_t has_prefix = (v.head->flags & KLLM_VOCAB_SPACE_PREFIX) != 0;
    uint64_t need = 0;
    uint32_t is_start = has_prefix && (flags & KLLM_DECODE_START);
    uint32_t start;
    for (uint64_t i = 0; i < n_ids; i++) {
        if (ids[i] >= v.head->n_vocab) {
            return KLLM_ERR_RANGE;
        }
        need += piece_of(&v, ids[i], flags, is_start, &start);
        is_start = has_prefix && is_special(v.type[ids[i]]);
    }
    *n_out = need;
    if (need > n_bytes) {
        return KLLM_ERR_SPACE;
    }
    is_start = has_prefix && (flags & KLLM_DECODE_START);
    for (uint64_t i = 0; i < n_ids; i++) {
        uint64_t n = piece_of(&v, ids[i], flags, is_start, &start);
        if (n <= 16 && need >= 16 && start + 16 <= v.head->text_bytes) {
            __builtin_memcpy(text, v.text + start, 16); // what is too much is written over
        } else {
            memcpy(text, v.text + start, n);
        }
        text += n;
        need -= n;
        is_start = has_prefix && is_special(v.type[ids[i]]);
    }
    return KLLM_OK;
}
