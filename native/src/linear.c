// SPDX-License-Identifier: Apache-2.0
// Inputs of matrices, made ready once for all their rows, and the product.
#include "layout.h"
#include "parts.h"
#include "pass.h"

// A product is made in parts, so that the outliers find weights and results in a cache: PART_BYTES_ONE
// for one token; many tokens share a part of weights.
enum part {
    PART_BYTES_MANY = 128 * 1024,
    PART_TOKENS = 120, // whole tiles of 2 to 6, 8
};

static void norm(const struct pass *p, float *y, const float *x, const struct kllm_tensor *w,
                 const struct kllm_tensor *b) {
    if (p->m->arch == KLLM_ARCH_GPT2) {
        p->k.layernorm_f32(y, x, f32_of(p, w), f32_of(p, b), p->m->n_embd, p->m->norm_eps);
    } else {
        p->k.rmsnorm_f32(y, x, f32_of(p, w), p->m->n_embd, p->m->norm_eps);
    }
}

// One token is cheaper prepared by every thread for itself than waited for. Such rows lie behind
// those of a batch: a thread that lost its core may still write its own when others are stages ahead.
static uint32_t first_row(const struct pass *p, uint32_t n_token) {
    return n_token == 1 ? p->ctx->config.n_batch + p->thread : 0;
}

static uint8_t *act_row(const struct pass *p, uint32_t row, uint32_t cols) {
    uint64_t stride = q8_bytes(row < p->ctx->config.n_batch ? cols : widest(p->m));
    return (uint8_t *)region(p->ctx, KLLM_R_ACT) + row * stride;
}

static struct outlier *outlier_row(const struct pass *p, uint32_t row) {
    return (struct outlier *)region(p->ctx, KLLM_R_OUTLIER) + (uint64_t)row * KLLM_N_OUTLIER;
}

// Quantises a row of x without its outliers; x is whole again afterwards.
static void quantize_row(const struct pass *p, float *x, uint32_t cols, uint32_t row) {
    struct outlier *outliers = outlier_row(p, row);
    p->k.pick_f32(outliers, x, cols);
    p->k.quantize_q8_f32(act_row(p, row, cols), x, cols);
    for (uint32_t i = KLLM_N_OUTLIER; i-- > 0;) { // backwards: an empty one may name a taken place
        if (outliers[i].x != 0.0f) {
            x[outliers[i].col] = outliers[i].x;
        }
    }
}

static struct inputs inputs_of(const struct pass *p, const float *x, uint32_t cols,
                               uint32_t n_token) {
    uint32_t first = first_row(p, n_token);
    return (struct inputs){x, act_row(p, first, cols), outlier_row(p, first), n_token};
}

struct inputs kllm_some_inputs(struct inputs in, uint32_t cols, struct span tokens) {
    uint32_t n_token = tokens.end - tokens.begin;
    if (in.act == NULL) {
        return (struct inputs){in.x + (uint64_t)tokens.begin * cols, NULL, NULL, n_token};
    }
    return (struct inputs){in.x + (uint64_t)tokens.begin * cols,
                           (const uint8_t *)in.act + tokens.begin * q8_bytes(cols),
                           in.outliers + (uint64_t)tokens.begin * KLLM_N_OUTLIER, n_token};
}

// Rows of floats have to lie end to end for the f32 and f16 kernels.
static void close_gaps(struct pass *p, float *x, uint32_t n, uint32_t stride, uint32_t n_token) {
    if (n_token == 1 || stride == n) {
        return;
    }
    while (next_share(p, 1)) {
        for (uint32_t t = 1; t < n_token && p->turn.share == 0; t++) {
            memmove(x + (uint64_t)t * n, x + (uint64_t)t * stride, n * sizeof *x);
        }
    }
}

// One row is shared by all threads, and each has to take outliers out of it: so each works on a
// copy of its own.
struct inputs kllm_inputs(struct pass *p, float *x, uint32_t stride, uint32_t cols,
                          uint32_t n_token, enum use use) {
    if (use == AS_FLOATS) {
        close_gaps(p, x, cols, stride, n_token);
        return (struct inputs){x, NULL, NULL, n_token};
    }
    if (n_token == 1) {
        if (p->n_thread > 1) {
            float *copy =
                (float *)region(p->ctx, KLLM_R_COPY) + (uint64_t)p->thread * widest(p->m);
            x = memcpy(copy, x, cols * sizeof *x);
        }
        quantize_row(p, x, cols, first_row(p, 1));
        return inputs_of(p, x, cols, n_token);
    }
    while (next_share(p, 1)) {
        struct span rows = share(p, n_token);
        for (uint32_t t = rows.begin; t < rows.end; t++) {
            quantize_row(p, x + (uint64_t)t * stride, cols, t);
        }
    }
    return inputs_of(p, x, cols, n_token);
}

// Normalises a row of x to row `row` of inputs.
static void norm_row(const struct pass *p, const float *x, uint32_t row,
                     const struct kllm_tensor *w, const struct kllm_tensor *b, enum use use) {
    uint32_t n = p->m->n_embd;
    float *y = (float *)region(p->ctx, KLLM_R_NORM) + (uint64_t)row * n;
    norm(p, y, x, w, b);
    if (use == QUANTIZED) {
        quantize_row(p, y, n, row);
    }
}

struct inputs kllm_norm_inputs(struct pass *p, const float *x, uint32_t n_token,
                               const struct kllm_tensor *w, const struct kllm_tensor *b,
                               enum use use) {
    uint32_t n = p->m->n_embd;
    if (n_token == 1) {
        norm_row(p, x, first_row(p, 1), w, b, use);
    } else {
        while (next_share(p, 1)) {
            struct span rows = share(p, n_token);
            for (uint32_t t = rows.begin; t < rows.end; t++) {
                norm_row(p, x + (uint64_t)t * n, t, w, b, use);
            }
        }
    }
    const float *y = region(p->ctx, KLLM_R_NORM);
    return inputs_of(p, y + (uint64_t)first_row(p, n_token) * n, n, n_token);
}

// The kernels of a weight type.
struct multiplier {
    kllm_matmul_fn *matmul;
    kllm_patch_fn *patch; // NULL for f32 and f16, whose inputs are floats
};

static struct multiplier multiplier_of(const struct pass *p, uint32_t dtype) {
    switch (dtype) {
    case KLLM_F32:
        return (struct multiplier){p->k.matmul_f32, NULL};
    case KLLM_F16:
        return (struct multiplier){p->k.matmul_f32_f16, NULL};
    case KLLM_Q4_0:
        return (struct multiplier){p->k.matmul_f32_q4_0_q8, p->k.patch_f32_q4_0};
    case KLLM_Q4_1:
        return (struct multiplier){p->k.matmul_f32_q4_1_q8, p->k.patch_f32_q4_1};
    default:
        return (struct multiplier){p->k.matmul_f32_q8_0_q8, p->k.patch_f32_q8_0};
    }
}

// A part of the rows, which start at w, times all tokens; y: the first token's result of the first.
static void multiply_part(const struct multiplier *k, float *y, uint32_t y_stride, const void *w,
                          uint32_t n_row, uint32_t cols, struct inputs in) {
    if (k->patch == NULL) {
        k->matmul(y, w, in.x, n_row, cols, in.n_token, y_stride);
        return;
    }
    for (uint32_t t = 0; t < in.n_token; t += PART_TOKENS, y += (uint64_t)PART_TOKENS * y_stride) {
        uint32_t n_token = min_u32(PART_TOKENS, in.n_token - t);
        const uint8_t *act = (const uint8_t *)in.act + t * q8_bytes(cols);
        k->matmul(y, w, act, n_row, cols, n_token, y_stride);
        k->patch(y, w, in.outliers + t * KLLM_N_OUTLIER, n_row, cols, n_token, y_stride);
    }
}

// Rows [begin, end) of a matrix times the inputs, plus the bias, begin a multiple of KLLM_GROUP.
void kllm_multiply(const struct pass *p, float *y, uint32_t y_stride, const struct kllm_tensor *w,
                   const struct kllm_tensor *bias, struct inputs in, struct span rows) {
    struct multiplier k = multiplier_of(p, w->dtype);
    uint64_t group_bytes = kllm_tensor_bytes(w->dtype, KLLM_GROUP, w->cols);
    uint32_t part_bytes = in.n_token == 1 ? PART_BYTES_ONE : PART_BYTES_MANY;
    uint32_t n_group = (uint32_t)(part_bytes / group_bytes) / PART_GROUPS * PART_GROUPS;
    uint32_t step = (n_group + PART_GROUPS) * KLLM_GROUP;
    const uint8_t *data = tensor_data(p->m, w);
    const float *b = bias == NULL ? NULL : f32_of(p, bias);
    for (uint32_t r = rows.begin; r < rows.end; r += step) {
        uint32_t n_row = min_u32(step, rows.end - r);
        multiply_part(&k, y + r, y_stride, data + r / KLLM_GROUP * group_bytes, n_row, w->cols,
                      in);
        for (uint32_t t = 0; t < in.n_token && b != NULL; t++) {
            add(y + (uint64_t)t * y_stride + r, b + r, n_row);
        }
    }
}
