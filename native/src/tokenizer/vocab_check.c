// SPDX-License-Identifier: Apache-2.0
// Checks a vocab section before anything trusts it.
#include "vocab.h"

enum {
    MAX_TABLE_BITS = 24,
    MAX_CLASS_BLOCK = 4096,
    N_CLASS = 11,
    N_FIRST = KLLM_N_ASCII * KLLM_N_ASCII,
};

struct fact {
    int holds;
    uint64_t off;
};

static int32_t first_false(const struct fact *facts, uint32_t n_fact, uint64_t *bad_off) {
    for (uint32_t i = 0; i < n_fact; i++) {
        if (!facts[i].holds) {
            *bad_off = facts[i].off;
            return KLLM_ERR_FORMAT;
        }
    }
    return KLLM_OK;
}

#define FACT(cond, field)                                                                         \
    { (cond), offsetof(struct kllm_vocab, field) }

static int is_id(const struct kllm_vocab *h, uint32_t id) {
    return id < h->n_vocab || id == NO_TOKEN;
}

static int32_t check_header(const struct kllm_vocab *h, uint64_t n_bytes, uint64_t *bad_off) {
    int is_bpe = h->kind == KLLM_VOCAB_BPE;
    const struct fact facts[] = {
        FACT(h->n_bytes <= n_bytes && h->n_bytes >= KLLM_VOCAB_HEADER_BYTES, n_bytes),
        FACT(is_bpe == (h->pre != KLLM_PRE_NONE), pre),
        FACT(h->flags < 128 && (h->n_merge > 0 || !(h->flags & KLLM_VOCAB_FIRSTS)), flags),
        FACT(h->kind != KLLM_VOCAB_UNIGRAM || h->unk != NO_TOKEN, unk),
        FACT(h->longest <= KLLM_MAX_TOKEN_BYTES, longest),
        FACT(h->map_bytes < UINT32_MAX, map_bytes),
        FACT(!(h->flags & KLLM_VOCAB_ADD_BOS) || h->bos != NO_TOKEN, bos),
        FACT(!(h->flags & KLLM_VOCAB_ADD_EOS) || h->eos != NO_TOKEN, eos),
        FACT(h->n_vocab >= 1 && h->n_vocab <= KLLM_MAX_VOCAB, n_vocab),
        FACT(h->n_merge < KLLM_MAX_MERGE && (is_bpe || h->n_merge == 0), n_merge),
        FACT(h->n_special <= h->n_vocab, n_special),
        FACT(h->n_user <= h->n_special, n_user),
        FACT(h->word_bits >= BUCKET_BITS && h->word_bits <= MAX_TABLE_BITS, word_bits),
        FACT(h->pair_bits >= BUCKET_BITS && h->pair_bits <= MAX_TABLE_BITS, pair_bits),
        FACT(h->n_class_block <= MAX_CLASS_BLOCK && (h->n_class_block > 0) == is_bpe,
             n_class_block),
        FACT(is_id(h, h->bos), bos),
        FACT(is_id(h, h->eos), eos),
        FACT(is_id(h, h->unk), unk),
        FACT(is_id(h, h->pad), pad),
        FACT(is_id(h, h->eot), eot),
    };
    return first_false(facts, sizeof(facts) / sizeof(facts[0]), bad_off);
}

// Whether a table of n_bytes lies in the section; every n_bytes given here is below 2^40.
static int lies_in(const struct kllm_vocab *h, uint64_t off, uint64_t n_bytes) {
    return off >= KLLM_VOCAB_HEADER_BYTES && off % 8 == 0 && off <= h->n_bytes &&
           n_bytes <= h->n_bytes - off;
}

static int32_t check_places(const struct kllm_vocab *h, uint64_t *bad_off) {
    int is_bpe = h->kind == KLLM_VOCAB_BPE;
    uint64_t n = h->n_vocab;
    uint64_t score_bytes = h->kind == KLLM_VOCAB_UNIGRAM ? 8 : 4;
    uint64_t n_class_bytes = KLLM_CLASS_BLOCKS * 2 + (uint64_t)h->n_class_block * KLLM_CLASS_BLOCK;
    const struct fact facts[] = {
        FACT(lies_in(h, h->start_off, (n + 1) * 4), start_off),
        FACT(h->text_bytes < UINT32_MAX, text_bytes),
        FACT(lies_in(h, h->text_off, h->text_bytes), text_off),
        FACT(lies_in(h, h->type_off, n), type_off),
        FACT(lies_in(h, h->byte_off, 256 * 4), byte_off),
        FACT(lies_in(h, h->word_off, sizeof(struct kllm_word) << h->word_bits), word_off),
        FACT(lies_in(h, h->pair_off, (uint64_t)8 << h->pair_bits), pair_off),
        FACT(lies_in(h, h->word_factor_off, (uint64_t)1 << (h->word_bits - BUCKET_BITS)),
             word_factor_off),
        FACT(lies_in(h, h->pair_factor_off, (uint64_t)1 << (h->pair_bits - BUCKET_BITS)),
             pair_factor_off),
        FACT(!(h->flags & KLLM_VOCAB_FIRSTS) || lies_in(h, h->first_off, N_FIRST * 8), first_off),
        FACT(lies_in(h, h->merge_off, (uint64_t)h->n_merge * 4), merge_off),
        // A table that is not there lies nowhere, but a pointer to it must not wrap.
        FACT(is_bpe ? h->score_off <= h->n_bytes : lies_in(h, h->score_off, n * score_bytes),
             score_off),
        FACT(h->map_bytes == 0 ? h->map_off <= h->n_bytes : lies_in(h, h->map_off, h->map_bytes),
             map_off),
        FACT(lies_in(h, h->special_off, ((uint64_t)h->n_special + h->n_user) * 4), special_off),
        FACT(is_bpe ? lies_in(h, h->class_off, n_class_bytes) : h->class_off <= h->n_bytes,
             class_off),
    };
    return first_false(facts, sizeof(facts) / sizeof(facts[0]), bad_off);
}

// The tokens: their texts in order, their types, their scores.
static int check_tokens(const struct vocab *v, uint64_t *bad_off) {
    const struct kllm_vocab *h = v->head;
    for (uint32_t i = 0; i < h->n_vocab; i++) {
        *bad_off = h->start_off + (uint64_t)i * 4;
        if ((i == 0 && v->start[0] != 0) || v->start[i + 1] < v->start[i] ||
            v->start[i + 1] > h->text_bytes ||
            v->start[i + 1] - v->start[i] > KLLM_MAX_TOKEN_BYTES) {
            return 0;
        }
        *bad_off = h->type_off + i;
        if (type_of(v, i) > KLLM_TOKEN_BYTE ||
            (v->type[i] & ~(KLLM_TOKEN_TYPE | KLLM_TOKEN_RSTRIP)) != 0) {
            return 0;
        }
        *bad_off = h->score_off + (uint64_t)i * 4;
        if (h->kind == KLLM_VOCAB_SPM && v->scores[i] >= KLLM_MAX_VOCAB) {
            return 0;
        }
        *bad_off = h->score_off + (uint64_t)i * 8;
        // Not a number and infinities fail the comparison.
        if (h->kind == KLLM_VOCAB_UNIGRAM && !(v->values[i] > -1e30 && v->values[i] < 1e30)) {
            return 0;
        }
    }
    return 1;
}

// The tables of ids: bytes, merges, special tokens.
static int check_ids(const struct vocab *v, uint64_t *bad_off) {
    const struct kllm_vocab *h = v->head;
    for (uint32_t i = 0; i < 256; i++) {
        *bad_off = h->byte_off + (uint64_t)i * 4;
        if (!is_id(h, v->byte_token[i])) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < h->n_merge; i++) {
        *bad_off = h->merge_off + (uint64_t)i * 4;
        if (v->merges[i] >= h->n_vocab) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < h->n_special + h->n_user; i++) {
        *bad_off = h->special_off + (uint64_t)i * 4;
        uint32_t id = v->specials[i];
        if (id >= h->n_vocab || v->start[id] == v->start[id + 1]) {
            return 0;
        }
    }
    return 1;
}

// Every slot of the hash tables, every entry of the merges that go first.
static int check_hashes(const struct vocab *v, uint64_t *bad_off) {
    const struct kllm_vocab *h = v->head;
    for (uint32_t i = 0; i < 1u << h->word_bits; i++) {
        *bad_off = h->word_off + i * sizeof(struct kllm_word);
        uint32_t token = v->words[i].token;
        if (token != 0 && ((token & TOKEN_ID) >= h->n_vocab || token >> 25 != 0)) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < 1u << h->pair_bits; i++) {
        *bad_off = h->pair_off + (uint64_t)i * 8;
        uint64_t pair = v->pairs[i];
        if (pair != UINT64_MAX &&
            (pair >> (RANK_BITS + TOKEN_BITS) >= h->n_vocab || (pair & RANK) >= h->n_merge)) {
            return 0;
        }
    }
    for (uint32_t i = 0; v->firsts != NULL && i < N_FIRST; i++) {
        *bad_off = h->first_off + (uint64_t)i * 8;
        uint64_t rank = v->firsts[i] >> FIRST_RANK_SHIFT;
        if (rank >= h->n_merge && rank != RANK) {
            return 0;
        }
    }
    return 1;
}

static int check_classes(const struct vocab *v, uint64_t *bad_off) {
    const struct kllm_vocab *h = v->head;
    if (h->kind != KLLM_VOCAB_BPE) {
        return 1;
    }
    for (uint32_t i = 0; i < KLLM_CLASS_BLOCKS; i++) {
        *bad_off = h->class_off + (uint64_t)i * 2;
        // ASCII is looked up without its block number.
        if (v->blocks[i] >= h->n_class_block || (i == 0 && v->blocks[i] != 0)) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < h->n_class_block * KLLM_CLASS_BLOCK; i++) {
        *bad_off = h->class_off + KLLM_CLASS_BLOCKS * 2 + i;
        if (v->classes[i] >= N_CLASS) {
            return 0;
        }
    }
    return 1;
}

static int32_t check(const struct kllm_vocab *h, uint64_t n_bytes, uint64_t *bad_off) {
    if (n_bytes < KLLM_VOCAB_HEADER_BYTES || h->magic != KLLM_VOCAB_MAGIC) {
        return KLLM_ERR_FORMAT;
    }
    if (h->layout != KLLM_VOCAB_LAYOUT) {
        *bad_off = offsetof(struct kllm_vocab, layout);
        return KLLM_ERR_ABI;
    }
    if (h->kind < KLLM_VOCAB_BPE || h->kind > KLLM_VOCAB_UNIGRAM) {
        *bad_off = offsetof(struct kllm_vocab, kind);
        return KLLM_ERR_UNSUPPORTED;
    }
    if (h->pre >= KLLM_PRE_COUNT) {
        *bad_off = offsetof(struct kllm_vocab, pre);
        return KLLM_ERR_UNSUPPORTED;
    }
    int32_t status = check_header(h, n_bytes, bad_off);
    if (status == KLLM_OK) {
        status = check_places(h, bad_off);
    }
    if (status != KLLM_OK) {
        return status;
    }
    struct vocab v = vocab_open(h);
    int fine = check_tokens(&v, bad_off) && check_ids(&v, bad_off) && check_hashes(&v, bad_off) &&
               check_classes(&v, bad_off);
    return fine ? KLLM_OK : KLLM_ERR_FORMAT;
}

int32_t kllm_vocab_check(const void *vocab, uint64_t n_bytes, uint64_t *bad_off) {
    uint64_t bad = 0;
    int32_t status = check(vocab, n_bytes, &bad);
    if (status != KLLM_OK) {
        *bad_off = bad;
    }
    return status;
}
