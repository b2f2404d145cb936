// SPDX-License-Identifier: Apache-2.0
// All kernels against their definitions, the arena, the checksum, the check of a model image.
#include "console.h"
#include "model.h"
#include "selftest.h"

enum { COPY_BYTES = 1 << 22 };

static _Alignas(64) uint8_t copy[COPY_BYTES];

static uint32_t expect(int is_right, const char *what) {
    if (!is_right) {
        console_text("FAIL ");
        console_text(what);
        console_text("\n");
    }
    return is_right ? 0 : 1;
}

uint32_t selftest_arena(void) {
    struct kllm_arena arena;
    uint32_t n_failed = 0;
    kllm_arena_init(&arena, 1000);
    n_failed += expect(kllm_arena_alloc(&arena, 10, 1) == 0, "first bytes stand at 0");
    n_failed += expect(kllm_arena_alloc(&arena, 100, 64) == 64, "alignment is kept");
    uint64_t mark = kllm_arena_mark(&arena);
    n_failed += expect(kllm_arena_alloc(&arena, 900, 1) == KLLM_ERR_SPACE, "space is counted");
    n_failed += expect(kllm_arena_alloc(&arena, 836, 1) == 164, "the last byte can be had");
    n_failed += expect(kllm_arena_alloc(&arena, ~(uint64_t)0, 1) == KLLM_ERR_SPACE, "no overflow");
    n_failed += expect(kllm_arena_release(&arena, mark) == KLLM_OK, "release to a mark");
    n_failed += expect(arena.used_bytes == 164 && arena.peak_bytes == 1000, "use and peak");
    static const char digits[] = "123456789"; // the check value of the CRC-32 catalogue
    n_failed += expect(kllm_crc32(0, digits, 9) == 0xcbf43926u, "CRC-32 of 123456789");
    return n_failed;
}

uint32_t selftest_image(void) {
    const struct kllm_image *m = (const void *)model_image;
    uint64_t n_bytes = model_bytes();
    uint64_t bad_off;
    uint32_t n_failed = 0;
    n_failed +=
        expect(kllm_image_check(model_image, n_bytes, &bad_off) == KLLM_OK, "image is accepted");
    n_failed += expect(kllm_image_check_body(model_image) == KLLM_OK, "body is accepted");
    n_failed += expect(kllm_image_check(model_image, n_bytes - 1, &bad_off) < 0, "a short image");
    if (n_bytes > COPY_BYTES) {
        return n_failed + expect(0, "the model of the selftest is too large");
    }
    for (uint64_t i = 0; i < n_bytes; i++) {
        copy[i] = model_image[i];
    }
    uint64_t n_head = m->tensors_off + m->n_tensors * sizeof(struct kllm_tensor);
    for (uint64_t i = 0; i < n_head; i++) {
        copy[i] ^= 1;
        n_failed += expect(kllm_image_check(copy, n_bytes, &bad_off) < 0, "a damaged head");
        copy[i] ^= 1;
    }
    for (uint64_t i = m->weights_off; i < n_bytes; i += 997) {
        copy[i] ^= 0x80;
        n_failed += expect(kllm_image_check_body(copy) < 0, "a damaged weight");
        copy[i] ^= 0x80;
    }
    return n_failed;
}

uint32_t image_main(void) {
    uint32_t n_failed = selftest_kernels() + selftest_arena() + selftest_image();
    console_stack();
    console_text(n_failed == 0 ? "selftest passed\n" : "selftest FAILED\n");
    return n_failed == 0 ? 0 : 1;
}
