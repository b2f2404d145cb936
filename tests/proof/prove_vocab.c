// SPDX-License-Identifier: Apache-2.0
// The header check of a vocabulary section: every table of an accepted one lies inside.
#include "proof.h"
#include "tokenizer/vocab_check.c"

static void inside(const struct kllm_vocab *h, uint64_t off, wide n_bytes) {
    prove(off >= KLLM_VOCAB_HEADER_BYTES && off % 8 == 0, "a table is aligned, behind the header");
    prove(off + n_bytes <= h->n_bytes, "a table lies in the section");
}

void prove_places(void) {
    struct kllm_vocab h;
    uint64_t n_bytes = any_u64(), bad_off = 0;
    if (check_header(&h, n_bytes, &bad_off) != KLLM_OK || check_places(&h, &bad_off) != KLLM_OK) {
        prove(bad_off < KLLM_VOCAB_HEADER_BYTES, "the place of an error is in the header");
        return;
    }
    prove(h.n_bytes <= n_bytes, "the section lies in what may be read");
    inside(&h, h.start_off, ((wide)h.n_vocab + 1) * 4);
    inside(&h, h.text_off, h.text_bytes);
    inside(&h, h.type_off, h.n_vocab);
    inside(&h, h.byte_off, 256 * 4);
    inside(&h, h.word_off, (wide)sizeof(struct kllm_word) << h.word_bits);
    inside(&h, h.word_factor_off, (wide)1 << (h.word_bits - BUCKET_BITS));
    inside(&h, h.pair_factor_off, (wide)1 << (h.pair_bits - BUCKET_BITS));
    inside(&h, h.pair_off, (wide)8 << h.pair_bits);
    inside(&h, h.merge_off, (wide)h.n_merge * 4);
    inside(&h, h.special_off, ((wide)h.n_special + h.n_user) * 4);
    if (h.kind == KLLM_VOCAB_BPE) {
        inside(&h, h.class_off, KLLM_CLASS_BLOCKS * 2 + (wide)h.n_class_block * KLLM_CLASS_BLOCK);
    } else {
        inside(&h, h.score_off, (wide)h.n_vocab * (h.kind == KLLM_VOCAB_UNIGRAM ? 8 : 4));
    }
    if (h.flags & KLLM_VOCAB_FIRSTS) {
        inside(&h, h.first_off, (wide)8 * KLLM_N_ASCII * KLLM_N_ASCII);
        prove(h.n_merge > 0, "there is a merge that may go first");
    }
    if (h.map_bytes > 0) {
        inside(&h, h.map_off, h.map_bytes);
    }
    prove(h.score_off <= h.n_bytes && h.class_off <= h.n_bytes && h.map_off <= h.n_bytes,
          "a pointer to a table that is not there does not wrap");
}
