// SPDX-License-Identifier: Apache-2.0
// Checks a packed image before anything trusts it.
#include "context.h"
#include "layout.h"

_Static_assert(sizeof(struct kllm_image) == KLLM_IMAGE_HEADER_BYTES, "image header");
_Static_assert(sizeof(struct kllm_tensor) == 32, "tensor table entry");

uint64_t kllm_tensor_bytes(uint32_t dtype, uint32_t rows, uint32_t cols) {
    if (rows == 0 || cols == 0 || rows > KLLM_MAX_VOCAB || cols > KLLM_MAX_FF) {
        return 0;
    }
    uint64_t n_group = (rows + KLLM_GROUP - 1) / KLLM_GROUP; // products stay below 2^49
    uint32_t whole_blocks = cols % KLLM_QK == 0;
    switch (dtype) {
    case KLLM_F32:
        return (uint64_t)rows * cols * 4;
    case KLLM_F16:
        return (uint64_t)rows * cols * 2;
    case KLLM_Q4_0:
        return whole_blocks * n_group * group_bytes_q4_0(cols);
    case KLLM_Q4_1:
        return whole_blocks * n_group * group_bytes_q4_1(cols);
    case KLLM_Q8_0:
        return whole_blocks * n_group * group_bytes_q8_0(cols);
    default:
        return 0;
    }
}

// One rule of the tensor table: shape, whether only f32 is allowed, and for whom it is required.
struct rule {
    uint32_t rows;
    uint32_t cols;
    uint32_t f32_only;
    uint32_t required; // bit of each architecture: 1 << kllm_arch
};

enum required {
    NEVER = 0,
    LLAMA = 1 << KLLM_ARCH_LLAMA,
    GPT2 = 1 << KLLM_ARCH_GPT2,
    BOTH = LLAMA | GPT2
};

static void model_rules(struct rule rule[KLLM_T_MODEL_COUNT], const struct kllm_image *m) {
    rule[KLLM_T_TOKEN_EMBD] = (struct rule){m->n_vocab, m->n_embd, 0, BOTH};
    rule[KLLM_T_POS_EMBD] = (struct rule){m->n_ctx_train, m->n_embd, 1, GPT2};
    rule[KLLM_T_OUT_NORM] = (struct rule){1, m->n_embd, 1, BOTH};
    rule[KLLM_T_OUT_NORM_BIAS] = (struct rule){1, m->n_embd, 1, GPT2};
    rule[KLLM_T_OUTPUT] = (struct rule){m->n_vocab, m->n_embd, 0, BOTH};
    rule[KLLM_T_ROPE] = (struct rule){m->n_ctx_train, m->n_rot, 1, LLAMA};
}

static void layer_rules(struct rule rule[KLLM_T_LAYER_COUNT], const struct kllm_image *m) {
    uint32_t n_q = m->n_head * m->head_dim;
    uint32_t n_kv = m->n_head_kv * m->head_dim;
    rule[KLLM_T_ATTN_NORM] = (struct rule){1, m->n_embd, 1, BOTH};
    rule[KLLM_T_ATTN_NORM_BIAS] = (struct rule){1, m->n_embd, 1, GPT2};
    rule[KLLM_T_Q] = (struct rule){n_q, m->n_embd, 0, BOTH};
    rule[KLLM_T_Q_BIAS] = (struct rule){1, n_q, 1, NEVER};
    rule[KLLM_T_K] = (struct rule){n_kv, m->n_embd, 0, BOTH};
    rule[KLLM_T_K_BIAS] = (struct rule){1, n_kv, 1, NEVER};
    rule[KLLM_T_V] = (struct rule){n_kv, m->n_embd, 0, BOTH};
    rule[KLLM_T_V_BIAS] = (struct rule){1, n_kv, 1, NEVER};
    rule[KLLM_T_O] = (struct rule){m->n_embd, n_q, 0, BOTH};
    rule[KLLM_T_O_BIAS] = (struct rule){1, m->n_embd, 1, NEVER};
    rule[KLLM_T_FFN_NORM] = (struct rule){1, m->n_embd, 1, BOTH};
    rule[KLLM_T_FFN_NORM_BIAS] = (struct rule){1, m->n_embd, 1, GPT2};
    rule[KLLM_T_GATE] = (struct rule){m->n_ff, m->n_embd, 0, LLAMA};
    rule[KLLM_T_UP] = (struct rule){m->n_ff, m->n_embd, 0, BOTH};
    rule[KLLM_T_UP_BIAS] = (struct rule){1, m->n_ff, 1, NEVER};
    rule[KLLM_T_DOWN] = (struct rule){m->n_embd, m->n_ff, 0, BOTH};
    rule[KLLM_T_DOWN_BIAS] = (struct rule){1, m->n_embd, 1, NEVER};
}

static int32_t check_tensor(const struct kllm_image *image, const struct kllm_tensor *tensor,
                            const struct rule *rule) {
    if (tensor->dtype == KLLM_NONE) {
        int absent_is_fine = (rule->required >> image->arch & 1) == 0;
        return absent_is_fine && tensor->off == 0 && tensor->n_bytes == 0 ? KLLM_OK
                                                                          : KLLM_ERR_FORMAT;
    }
    if (rule->f32_only != 0 && tensor->dtype != KLLM_F32) {
        return KLLM_ERR_FORMAT;
    }
    uint64_t n_bytes = kllm_tensor_bytes(tensor->dtype, tensor->rows, tensor->cols);
    if (n_bytes == 0 || tensor->n_bytes != n_bytes || tensor->rows != rule->rows ||
        tensor->cols != rule->cols || tensor->off % KLLM_ALIGN != 0 ||
        tensor->off < image->weights_off || tensor->off > image->n_bytes ||
        n_bytes > image->n_bytes - tensor->off) {
        return KLLM_ERR_FORMAT;
    }
    return KLLM_OK;
}

static int in_range(uint32_t n, uint32_t max) {
    return n >= 1 && n <= max;
}

static int32_t check_shape(const struct kllm_image *m, uint64_t *bad_off) {
    if (m->arch != KLLM_ARCH_LLAMA && m->arch != KLLM_ARCH_GPT2) {
        *bad_off = offsetof(struct kllm_image, arch);
        return KLLM_ERR_UNSUPPORTED;
    }
    uint32_t llama = m->arch == KLLM_ARCH_LLAMA;
    int rope_fits = llama ? (m->rope == KLLM_ROPE_ADJACENT || m->rope == KLLM_ROPE_HALF) &&
                                in_range(m->n_rot, m->head_dim) && m->n_rot % 2 == 0
                          : m->rope == KLLM_ROPE_NONE && m->n_rot == 0;
    const struct {
        int holds;
        size_t off;
    } facts[] = {
        {in_range(m->n_layer, KLLM_MAX_LAYER), offsetof(struct kllm_image, n_layer)},
        {in_range(m->n_embd, KLLM_MAX_EMBD) && m->n_embd % KLLM_QK == 0,
         offsetof(struct kllm_image, n_embd)},
        {in_range(m->n_head, KLLM_MAX_HEAD), offsetof(struct kllm_image, n_head)},
        {in_range(m->n_head_kv, m->n_head) && m->n_head % m->n_head_kv == 0,
         offsetof(struct kllm_image, n_head_kv)},
        {in_range(m->head_dim, KLLM_MAX_HEAD_DIM) && m->head_dim % KLLM_QK == 0,
         offsetof(struct kllm_image, head_dim)},
        {m->n_head * m->head_dim <= KLLM_MAX_FF, offsetof(struct kllm_image, head_dim)},
        {rope_fits, offsetof(struct kllm_image, rope)},
        {in_range(m->n_ff, KLLM_MAX_FF) && m->n_ff % KLLM_QK == 0,
         offsetof(struct kllm_image, n_ff)},
        {in_range(m->n_vocab, KLLM_MAX_VOCAB), offsetof(struct kllm_image, n_vocab)},
        {in_range(m->n_ctx_train, KLLM_MAX_CTX), offsetof(struct kllm_image, n_ctx_train)},
        {m->norm_eps > 0 && m->norm_eps < 1, offsetof(struct kllm_image, norm_eps)},
        {m->attn_scale > 0 && m->attn_scale <= 1, offsetof(struct kllm_image, attn_scale)},
        {m->n_tensors == KLLM_T_MODEL_COUNT + m->n_layer * KLLM_T_LAYER_COUNT,
         offsetof(struct kllm_image, n_tensors)},
    };
    for (uint32_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (!facts[i].holds) {
            *bad_off = facts[i].off;
            return KLLM_ERR_FORMAT;
        }
    }
    return KLLM_OK;
}

// The sections lie in order, aligned, inside the image; so no sum below can wrap.
static int32_t check_sections(const struct kllm_image *m, uint64_t n_bytes, uint64_t *bad_off) {
    uint64_t table_bytes = (uint64_t)m->n_tensors * sizeof(struct kllm_tensor);
    const struct {
        int holds;
        size_t off;
    } facts[] = {
        {m->n_bytes <= n_bytes && m->n_bytes >= KLLM_IMAGE_HEADER_BYTES,
         offsetof(struct kllm_image, n_bytes)},
        {m->weights_off <= m->n_bytes && m->weights_off % KLLM_ALIGN == 0,
         offsetof(struct kllm_image, weights_off)},
        {m->vocab_off <= m->weights_off && m->vocab_off % KLLM_ALIGN == 0,
         offsetof(struct kllm_image, vocab_off)},
        {m->vocab_off <= m->weights_off && m->vocab_bytes <= m->weights_off - m->vocab_off,
         offsetof(struct kllm_image, vocab_bytes)},
        {m->tensors_off == KLLM_IMAGE_HEADER_BYTES && m->vocab_off >= KLLM_IMAGE_HEADER_BYTES &&
             table_bytes <= m->vocab_off - KLLM_IMAGE_HEADER_BYTES,
         offsetof(struct kllm_image, tensors_off)},
    };
    for (uint32_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (!facts[i].holds) {
            *bad_off = facts[i].off;
            return KLLM_ERR_FORMAT;
        }
    }
    if (kllm_crc32(0, tensor_table(m), table_bytes) != m->table_crc) {
        *bad_off = offsetof(struct kllm_image, table_crc);
        return KLLM_ERR_FORMAT;
    }
    return KLLM_OK;
}

static int32_t check_tensors(const struct kllm_image *image, uint64_t *bad_off) {
    struct rule model[KLLM_T_MODEL_COUNT];
    struct rule layer[KLLM_T_LAYER_COUNT];
    model_rules(model, image);
    layer_rules(layer, image);
    for (uint32_t i = 0; i < image->n_tensors; i++) {
        const struct rule *rule = i < KLLM_T_MODEL_COUNT
                                      ? &model[i]
                                      : &layer[(i - KLLM_T_MODEL_COUNT) % KLLM_T_LAYER_COUNT];
        int32_t status = check_tensor(image, tensor_table(image) + i, rule);
        if (status != KLLM_OK) {
            *bad_off = image->tensors_off + i * sizeof(struct kllm_tensor);
            return status;
        }
    }
    return KLLM_OK;
}

static int32_t check_vocab(const struct kllm_image *m, uint64_t *bad_off) {
    const struct kllm_vocab *vocab = (const void *)((const uint8_t *)m + m->vocab_off);
    uint64_t bad = 0;
    int32_t status = kllm_vocab_check(vocab, m->vocab_bytes, &bad);
    if (status == KLLM_OK && vocab->n_vocab != m->n_vocab) {
        bad = offsetof(struct kllm_vocab, n_vocab);
        status = KLLM_ERR_FORMAT;
    }
    *bad_off = m->vocab_off + bad;
    return status;
}

int32_t kllm_image_check(const void *image, uint64_t n_bytes, uint64_t *bad_off) {
    const struct kllm_image *m = image;
    uint64_t bad = 0;
    int32_t status = KLLM_OK;
    if (n_bytes < KLLM_IMAGE_HEADER_BYTES || m->magic != KLLM_IMAGE_MAGIC) {
        status = KLLM_ERR_FORMAT;
    } else if (m->layout != KLLM_IMAGE_LAYOUT) {
        bad = offsetof(struct kllm_image, layout);
        status = KLLM_ERR_ABI;
    } else if (kllm_crc32(0, m, offsetof(struct kllm_image, header_crc)) != m->header_crc) {
        bad = offsetof(struct kllm_image, header_crc);
        status = KLLM_ERR_FORMAT;
    } else if (m->reserved2 != 0) { // the one field that no checksum covers
        bad = offsetof(struct kllm_image, reserved2);
        status = KLLM_ERR_FORMAT;
    }
    if (status == KLLM_OK) {
        status = check_shape(m, &bad);
    }
    if (status == KLLM_OK) {
        status = check_sections(m, n_bytes, &bad);
    }
    if (status == KLLM_OK) {
        status = check_tensors(m, &bad);
    }
    if (status == KLLM_OK) {
        status = check_vocab(m, &bad);
    }
    if (status != KLLM_OK) {
        *bad_off = bad;
    }
    return status;
}

int32_t kllm_image_check_body(const void *image) {
    const struct kllm_image *m = image;
    const uint8_t *body = (const uint8_t *)image + m->vocab_off;
    return kllm_crc32(0, body, m->n_bytes - m->vocab_off) == m->body_crc ? KLLM_OK
                                                                         : KLLM_ERR_FORMAT;
}
