// SPDX-License-Identifier: Apache-2.0
// The checks of an image and of its vocabulary, for every header: what they accept lies inside the
// bytes that were given, so the loops over tables that follow cannot leave them.
#include "image.c"
#include "proof.h"

static uint64_t held_bytes; // that kllm_image_check may read
static const void *held;

// The checksum is replaced by any value; what it reads must be inside.
uint32_t kllm_crc32(uint32_t crc, const void *bytes, uint64_t n_bytes) {
    (void)crc;
    prove(__CPROVER_same_object(bytes, held), "the checksum is of the image");
    prove((wide)__CPROVER_POINTER_OFFSET(bytes) + n_bytes <= held_bytes,
          "the checksum reads inside the image");
    return any_u32();
}

int32_t kllm_vocab_check(const void *vocab, uint64_t n_bytes, uint64_t *bad_off) {
    (void)vocab, (void)n_bytes;
    *bad_off = any_u64();
    return (int32_t)any_u32();
}

void prove_tensor_bytes(void) {
    uint32_t dtype = any_u32(), rows = any_u32(), cols = any_u32();
    uint64_t n_bytes = kllm_tensor_bytes(dtype, rows, cols);
    if (n_bytes != 0) {
        prove(rows >= 1 && rows <= KLLM_MAX_VOCAB && cols >= 1 && cols <= KLLM_MAX_FF,
              "a tensor with bytes has a shape within the limits");
        prove(dtype == KLLM_F32 || dtype == KLLM_F16 || cols % KLLM_QK == 0, "blocks are whole");
    }
    prove(n_bytes < (uint64_t)1 << 49, "the size of a tensor does not wrap");
}

void prove_tensor(void) {
    struct kllm_image image;
    struct kllm_tensor tensor;
    struct rule rule;
    assume(image.weights_off <= image.n_bytes && image.arch < 32);
    if (check_tensor(&image, &tensor, &rule) != KLLM_OK) {
        return;
    }
    if (tensor.dtype == KLLM_NONE) {
        prove((rule.required >> image.arch & 1) == 0, "only what may be absent is absent");
        return;
    }
    prove(tensor.rows == rule.rows && tensor.cols == rule.cols, "the shape is that of its slot");
    prove(tensor.off >= image.weights_off && tensor.off % KLLM_ALIGN == 0, "it is aligned");
    prove((wide)tensor.off + tensor.n_bytes <= image.n_bytes, "it lies in the image");
}

void prove_header(void) {
    struct kllm_image m;
    uint64_t bad_off = 0;
    held = &m;
    held_bytes = any_u64();
    assume(held_bytes >= KLLM_IMAGE_HEADER_BYTES);
    if (check_shape(&m, &bad_off) != KLLM_OK ||
        check_sections(&m, held_bytes, &bad_off) != KLLM_OK) {
        prove(bad_off < KLLM_IMAGE_HEADER_BYTES, "the place of an error is in the header");
        return;
    }
    wide table_end =
        (wide)KLLM_IMAGE_HEADER_BYTES + (wide)m.n_tensors * sizeof(struct kllm_tensor);
    prove(m.n_bytes <= held_bytes, "the image lies in what may be read");
    prove(table_end <= m.vocab_off, "the tensor table lies before the vocabulary");
    prove((wide)m.vocab_off + m.vocab_bytes <= m.weights_off, "the vocabulary before the weights");
    prove(m.weights_off <= m.n_bytes, "the weights begin inside");
    prove((m.vocab_off | m.weights_off) % KLLM_ALIGN == 0, "both are aligned");
    prove(m.n_head % m.n_head_kv == 0 && m.head_dim % KLLM_QK == 0 && m.n_ff % KLLM_QK == 0 &&
              m.n_embd % KLLM_QK == 0 && m.n_rot <= m.head_dim,
          "every division of the engine comes out even");
    prove((wide)m.n_head * m.head_dim <= KLLM_MAX_FF, "the heads of a token fit a row");
}
