// SPDX-License-Identifier: Apache-2.0
// kllm_encode and kllm_decode: special tokens, words between them, and the way back.
#include "encode.h"

// ----------------------------------------------------------------------------------------- encode

static void encode_text(const struct vocab *v, struct work *w, const uint8_t *text,
                        uint64_t n_bytes, uint32_t flags, struct sink *out) {
    struct specials sp;
    kllm_open_specials(&sp, v, flags);
    uint32_t prefix = (v->head->flags & KLLM_VOCAB_SPACE_PREFIX) != 0;
    if ((flags & KLLM_ENCODE_AFFIX) && (v->head->flags & KLLM_VOCAB_ADD_BOS)) {
        put_id(out, v->head->bos);
    }
    for (uint64_t pos = 0; pos < n_bytes;) {
        struct match m = {n_bytes, 0, 0};
        if (sp.n > 0) {
            m = kllm_next_special(v, &sp, text, pos, n_bytes);
        }
        if (m.pos > pos && v->head->kind == KLLM_VOCAB_BPE) {
            struct stretch part = {pos, m.pos, n_bytes, 0, 0};
            kllm_encode_words(v, w, text, part, out);
        } else if (m.pos > pos && v->head->kind == KLLM_VOCAB_UNIGRAM) {
            kllm_encode_unigram(v, &w->window, text + pos, m.pos - pos, 1, out);
        } else if (m.pos > pos) {
            kllm_encode_spm(v, &w->window, text + pos, m.pos - pos, prefix, 1, out);
        }
        pos = m.pos + m.n_bytes;
        if (m.n_bytes > 0) {
            put_id(out, m.id);
            pos = kllm_after_special(v, m.id, text, pos, n_bytes);
        }
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
    // Unigram: what a character map makes of a byte is not bounded so.
    uint64_t n_each = v.head->kind == KLLM_VOCAB_BPE ? 1 : 6;
    if (n_ids < 5 || (n_ids - 5) / n_each < n_bytes || v.head->kind == KLLM_VOCAB_UNIGRAM) {
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

int32_t kllm_encode_batch(const void *vocab, void *work, const uint8_t *text, const uint64_t *ends,
                          uint64_t n_text, uint32_t flags, uint32_t *ids, uint64_t n_ids,
                          uint64_t *n_out) {
    uint64_t start = 0;
    uint64_t n_before = 0;
    for (uint64_t i = 0; i < n_text; i++) {
        uint64_t n;
        int32_t status = kllm_encode(vocab, work, text + start, ends[i] - start, flags,
                                     ids + n_before, n_ids - n_before, &n);
        if (status != KLLM_OK) {
            return status;
        }
        start = ends[i];
        n_before += n;
        n_out[i] = n_before;
    }
    return KLLM_OK;
}

// ----------------------------------------------------------------------------------------- decode

// How ids become bytes.
struct decoding {
    const struct vocab *v;
    uint32_t flags;
    uint32_t is_start; // text begins here
};

// The bytes that a token gives: v->text[*start, + result).
KLLM_INLINE uint64_t piece_of(struct decoding *d, uint32_t id, uint32_t has_prefix,
                              uint32_t *start) {
    const struct vocab *v = d->v;
    uint32_t type = type_of(v, id);
    *start = v->start[id];
    uint64_t n_bytes = v->start[id + 1] - *start;
    uint32_t is_control = type == KLLM_TOKEN_CONTROL || type == KLLM_TOKEN_UNKNOWN;
    if (has_prefix) {
        if (d->is_start && type == KLLM_TOKEN_NORMAL && n_bytes > 0 && v->text[*start] == ' ') {
            *start += 1;
            n_bytes--;
        }
        d->is_start = is_control || type == KLLM_TOKEN_USER;
    }
    return is_control && !(d->flags & KLLM_DECODE_SPECIAL) ? 0 : n_bytes;
}

// The bytes of all ids, UINT64_MAX where one is past the vocabulary.
KLLM_INLINE uint64_t count_bytes(struct decoding d, const uint32_t *ids, uint64_t n_ids,
                                 uint32_t has_prefix) {
    uint32_t n_vocab = d.v->head->n_vocab;
    uint64_t n_bytes = 0;
    uint32_t start;
    for (uint64_t i = 0; i < n_ids; i++) {
        if (ids[i] >= n_vocab) {
            return UINT64_MAX;
        }
        n_bytes += piece_of(&d, ids[i], has_prefix, &start);
    }
    return n_bytes;
}

// Writes the bytes of all ids, n_bytes in all.
KLLM_INLINE void write_bytes(struct decoding d, const uint32_t *ids, uint64_t n_ids,
                             uint32_t has_prefix, uint8_t *text, uint64_t n_bytes) {
    const uint8_t *from = d.v->text;
    const uint8_t *end = text + n_bytes;
    uint64_t readable = d.v->head->text_bytes;
    uint32_t start;
    for (uint64_t i = 0; i < n_ids; i++) {
        uint64_t n = piece_of(&d, ids[i], has_prefix, &start);
        if (n <= 16 && end - text >= 16 && start + 16 <= readable) {
            __builtin_memcpy(text, from + start, 16); // what is too much is written over
        } else {
            memcpy(text, from + start, n);
        }
        text += n;
    }
}

int32_t kllm_decode(const void *vocab, const uint32_t *ids, uint64_t n_ids, uint32_t flags,
                    uint8_t *text, uint64_t n_bytes, uint64_t *n_out) {
    struct vocab v = vocab_open(vocab);
    uint32_t has_prefix = (v.head->flags & KLLM_VOCAB_SPACE_PREFIX) != 0;
    struct decoding d = {&v, flags, has_prefix && (flags & KLLM_DECODE_START)};
    uint64_t need = has_prefix ? count_bytes(d, ids, n_ids, 1) : count_bytes(d, ids, n_ids, 0);
    if (need == UINT64_MAX) {
        return KLLM_ERR_RANGE;
    }
    *n_out = need;
    if (need > n_bytes) {
        return KLLM_ERR_SPACE;
    }
    if (has_prefix) {
        write_bytes(d, ids, n_ids, 1, text, need);
    } else {
        write_bytes(d, ids, n_ids, 0, text, need);
    }
    return KLLM_OK;
}
