// SPDX-License-Identifier: Apache-2.0
// Damages a vocab section at random; what kllm_vocab_check lets through is used on random text.
//
//     check_tokenizer SECTION COUNT SEED
//
// Built with the address and undefined-behaviour sanitizers, which find what goes wrong: every
// buffer is of exactly the size that kllm.h asks for.
#include "damage.h"

#include "kllm.h"

static uint8_t *random_text(size_t n_bytes) {
    static const char *const alphabets[] = {"aestr ' \n1", "a", "\xe2\x96\x81 \xf0\x9f<s>|",
                                            "<s>@b"};
    uint8_t *text = malloc(n_bytes > 0 ? n_bytes : 1); // exact, so that reading past it is seen
    const char *alphabet = alphabets[draw(4)];
    int any = draw(4) == 0;
    for (size_t i = 0; i < n_bytes; i++) {
        text[i] = (uint8_t)(any ? draw(256) : (uint64_t)alphabet[draw(strlen(alphabet))]);
    }
    return text;
}

static void use_in_pieces(const uint8_t *section, void *work, const uint8_t *text,
                          size_t n_bytes) {
    uint64_t n_taken, n_out;
    size_t n_ids = draw(2) ? 6 * (n_bytes + KLLM_STREAM_BYTES) : draw(300);
    uint32_t *ids = malloc(n_ids > 0 ? n_ids * 4 : 1);
    kllm_encode_start(work, (uint32_t)draw(4));
    for (int i = 0; i < 40; i++) { // the same text again and again fills what may wait
        if (kllm_encode_piece(section, work, text, n_bytes, &n_taken, ids, n_ids, &n_out) != 0) {
            break;
        }
    }
    kllm_encode_finish(section, work, ids, n_ids, &n_out);
    free(ids);
}

static void use(const uint8_t *section) {
    size_t n_bytes = draw(4) == 0 ? draw(20000) : draw(80);
    size_t n_ids = draw(2) ? 6 * n_bytes + 5 : draw(n_bytes + 1);
    uint8_t *text = random_text(n_bytes);
    uint32_t *ids = malloc(n_ids > 0 ? n_ids * 4 : 1);
    size_t work_bytes = KLLM_ENCODE_WORK_BYTES + (draw(2) ? draw(5000) : 0);
    void *work = buffer(8, work_bytes);
    memset(work, 0, work_bytes);
    kllm_encode_size(work, work_bytes);
    uint64_t n_out;
    uint32_t flags = (uint32_t)draw(4);
    if (kllm_encode(section, work, text, n_bytes, flags, ids, n_ids, &n_out) == KLLM_OK) {
        size_t n_back = draw(2) ? n_bytes + draw(64) : draw(n_bytes + 1);
        uint8_t *back = malloc(n_back > 0 ? n_back : 1);
        uint64_t n_text;
        kllm_decode(section, ids, n_out, (uint32_t)draw(4), back, n_back, &n_text);
        free(back);
    }
    if (draw(8) == 0) {
        use_in_pieces(section, work, text, n_bytes);
    }
    free(work);
    free(ids);
    free(text);
}

static void damage(uint8_t *section, size_t n_bytes) {
    size_t first = draw(8) == 0 ? 0 : KLLM_VOCAB_HEADER_BYTES;
    uint64_t n_change = draw(3) == 0 ? draw(300) : 1 + draw(3);
    for (uint64_t i = 0; i < n_change; i++) {
        uint8_t *byte = section + first + draw(n_bytes - first);
        uint8_t values[] = {(uint8_t)draw(256), (uint8_t)(*byte ^ 1u << draw(8)), 0, 0xff};
        *byte = values[draw(4)];
    }
}

static int check(uint8_t *section, size_t n_bytes) {
    damage(section, n_bytes);
    uint64_t bad_off;
    int is_good = kllm_vocab_check(section, n_bytes, &bad_off) == KLLM_OK;
    if (is_good) {
        use(section);
    }
    return is_good;
}

int main(int argc, char **argv) {
    return damage_copies(argc, argv, "sections", 8, check);
}
