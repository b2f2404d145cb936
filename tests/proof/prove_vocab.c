// SPDX-License-Identifier: Apache-2.0
// The header check of a vocabulary section: every table of an accepted one lies inside.
// CASE 0 is the header itself, the others are a table each, or the place of one: with two in one
// formula it is chance, down to the names of folders, whether the solver takes minutes; each alone
// takes half a second.
#include "proof.h"
#include "tokenizer/vocab_check.c"

static uint32_t n_case = 1;

static void table(const struct kllm_vocab *h, int is_there, uint64_t off, wide n_bytes) {
    if (n_case++ == CASE && is_there) {
        prove(off >= KLLM_VOCAB_HEADER_BYTES && off % 8 == 0, "a table is aligned, behind header");
        prove(off + n_bytes <= h->n_bytes, "a table lies in the section");
    }
}

// A pointer is made to it, there or not.
static void place(const struct kllm_vocab *h, uint64_t off) {
    if (n_case++ == CASE) {
        prove(off <= h->n_bytes, "a pointer to a table that is not there does not wrap");
    }
}

void prove_places(void) {
    struct kllm_vocab h;
    uint64_t n_bytes = any_u64(), bad_off = 0;
    if (check_header(&h, n_bytes, &bad_off) != KLLM_OK || check_places(&h, &bad_off) != KLLM_OK) {
        prove(CASE != 0 || bad_off < KLLM_VOCAB_HEADER_BYTES, "an error lies in the header");
        return;
    }
    int is_bpe = h.kind == KLLM_VOCAB_BPE;
    table(&h, 1, h.start_off, ((wide)h.n_vocab + 1) * 4);
    table(&h, 1, h.text_off, h.text_bytes);
    table(&h, 1, h.type_off, h.n_vocab);
    table(&h, 1, h.byte_off, 256 * 4);
    table(&h, 1, h.word_off, (wide)sizeof(struct kllm_word) << h.word_bits);
    table(&h, 1, h.word_factor_off, (wide)1 << (h.word_bits - BUCKET_BITS));
    table(&h, 1, h.pair_factor_off, (wide)1 << (h.pair_bits - BUCKET_BITS));
    table(&h, 1, h.pair_off, (wide)8 << h.pair_bits);
    table(&h, 1, h.merge_off, (wide)h.n_merge * 4);
    table(&h, 1, h.special_off, ((wide)h.n_special + h.n_user) * 4);
    table(&h, is_bpe, h.class_off,
          KLLM_CLASS_BLOCKS * 2 + (wide)h.n_class_block * KLLM_CLASS_BLOCK);
    table(&h, !is_bpe, h.score_off, (wide)h.n_vocab * (h.kind == KLLM_VOCAB_UNIGRAM ? 8 : 4));
    table(&h, (h.flags & KLLM_VOCAB_FIRSTS) != 0, h.first_off,
          (wide)8 * KLLM_N_ASCII * KLLM_N_ASCII);
    table(&h, h.map_bytes > 0, h.map_off, h.map_bytes);
    place(&h, h.score_off);
    place(&h, h.class_off);
    place(&h, h.map_off);
    prove(n_case == CASES, "prove.py tries every table");
    if (CASE == 0) {
        prove(h.n_bytes <= n_bytes, "the section lies in what may be read");
        prove(h.n_merge > 0 || !(h.flags & KLLM_VOCAB_FIRSTS), "what merges first is a merge");
    }
}
