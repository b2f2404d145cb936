// SPDX-License-Identifier: Apache-2.0
// Damages a model image at random; what kllm_image_check lets through is opened and run.
//
//     check_image IMAGE COUNT SEED
//
// Built with the address and undefined-behaviour sanitizers, which find what goes wrong: image and
// arena are of exactly the size that the check and the plan were given.
#include "damage.h"

#include <stddef.h>

#include "kllm.h"

// Makes the checksums of table and header true again, where they can be found.
static void reseal(uint8_t *image, size_t n_bytes) {
    struct kllm_image *m = (void *)image;
    size_t room = n_bytes - KLLM_IMAGE_HEADER_BYTES;
    size_t table_bytes = (size_t)m->n_tensors * sizeof(struct kllm_tensor);
    m->table_crc =
        kllm_crc32(0, image + KLLM_IMAGE_HEADER_BYTES, table_bytes < room ? table_bytes : room);
    m->header_crc = kllm_crc32(0, image, offsetof(struct kllm_image, header_crc));
}

// Numbers at which a range ends, a sum wraps or a sign turns.
static uint64_t boundary(void) {
    static const uint64_t values[] = {0, 1, 31, 32, 33, 63, 64, 255, 4096, 65535, 65536};
    uint64_t value = draw(2) ? values[draw(11)] : (uint64_t)1 << draw(64);
    return value + draw(3) - 1;
}

static void damage_field(uint8_t *field, size_t n_bytes) {
    uint64_t value = draw(3) ? boundary() : draw(UINT64_MAX);
    memcpy(field, &value, n_bytes);
}

static void damage(uint8_t *image, size_t n_bytes) {
    const struct kllm_image *m = (void *)image;
    size_t vocab_off = m->vocab_off, weights_off = m->weights_off;
    size_t sections[][2] = {
        {0, KLLM_IMAGE_HEADER_BYTES},
        {KLLM_IMAGE_HEADER_BYTES, vocab_off},
        {vocab_off, vocab_off + KLLM_VOCAB_HEADER_BYTES},
        {vocab_off, weights_off},
        {weights_off, n_bytes},
    };
    uint64_t kind = draw(5);
    size_t first = sections[kind][0], end = sections[kind][1];
    for (uint64_t i = kind == 4 ? draw(400) : 1 + draw(3); i > 0; i--) {
        if (draw(2)) {
            size_t width = draw(2) ? 4 : 8;
            damage_field(image + first + (draw(end - first - 7) & ~(width - 1)), width);
        } else {
            image[first + draw(end - first)] ^= (uint8_t)(1u << draw(8));
        }
    }
    if (draw(8) != 0) {
        reseal(image, n_bytes);
    }
}

static void generate(void *arena, const uint8_t *image, const struct kllm_config *config) {
    const struct kllm_image *m = (const void *)image;
    uint32_t ids[64], seqs[64] = {0};
    uint64_t n_ids;
    uint8_t *work = buffer(8, KLLM_ENCODE_WORK_BYTES);
    const uint8_t text[] = "the hello, \xc3\xa9\xf0\x9f\x98\x80 <|im_end|>\xff";
    int32_t status = kllm_encode(image + m->vocab_off, work, text, sizeof text - 1,
                                 KLLM_ENCODE_AFFIX | KLLM_ENCODE_SPECIAL, ids, 64, &n_ids);
    free(work);
    n_ids = status == KLLM_OK ? n_ids : 0;
    for (uint32_t i = 0; i < 8; i++) {
        ids[n_ids < 56 ? n_ids++ : i] = (uint32_t)draw((uint64_t)m->n_vocab + (draw(9) == 0));
    }
    uint32_t logits = (uint32_t)draw(3);
    kllm_eval(arena, image, ids, seqs, 1 + (uint32_t)draw(n_ids), logits);
    struct kllm_sampler sampler = {(float)draw(2), 0.9f, 0.01f, 1.1f, 40, 16, state};
    for (int i = 0; i < 3; i++) {
        int32_t id = kllm_sample(arena, image, 0, 0, &sampler);
        float nll;
        uint32_t top1;
        kllm_score(arena, image, 0, (uint32_t)draw(m->n_vocab), &nll, &top1);
        if (id < 0 || (uint32_t)id >= m->n_vocab) {
            break;
        }
        ids[0] = (uint32_t)id;
        kllm_eval(arena, image, ids, seqs, 1, KLLM_LOGITS_LAST);
    }
    kllm_seq_cut(arena, 0, (uint32_t)draw(config->n_ctx));
}

// Opens an accepted image; false if its plan is too large to be worth the time.
static int use(const uint8_t *image, size_t n_bytes) {
    const uint32_t kv[] = {KLLM_F32, KLLM_F16, KLLM_Q8_0};
    struct kllm_config config = {
        1 + (uint32_t)draw(70), 1 + (uint32_t)draw(9), 1, 8, 1, kv[draw(3)], UINT32_MAX, 0};
    struct kllm_plan plan;
    if (kllm_plan(&plan, image, &config) != KLLM_OK || plan.n_bytes > (uint64_t)64 << 20) {
        return 0;
    }
    void *arena = buffer(64, plan.n_bytes);
    memset(arena, 0xa5, plan.n_bytes);
    if (kllm_open(arena, plan.n_bytes, image, n_bytes, &config) == KLLM_OK &&
        kllm_team_start(arena) == KLLM_OK) {
        generate(arena, image, &config);
        kllm_team_stop(arena);
    }
    free(arena);
    return 1;
}

// Damages an image, and cuts off every sixteenth.
static int check(uint8_t *image, size_t n_bytes) {
    size_t n_held = draw(16) == 0 ? draw(n_bytes) : n_bytes;
    damage(image, n_bytes);
    uint8_t *held = buffer(64, n_held);
    memcpy(held, image, n_held);
    uint64_t bad_off;
    int is_used = kllm_image_check(held, n_held, &bad_off) == KLLM_OK && use(held, n_held);
    free(held);
    return is_used;
}

int main(int argc, char **argv) {
    return damage_copies(argc, argv, "images", 64, check);
}
