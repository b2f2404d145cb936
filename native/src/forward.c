// SPDX-License-Identifier: Apache-2.0
// Tokens through the model. Every thread of the team runs kllm_pass; each computes its share of the
// rows, heads and tokens, and they meet at a barrier where one needs what another made.
#include "context.h"
#include "layout.h"

enum { PART_BYTES = 128 * 1024 }; // weights that are multiplied before the outliers are

struct pass {
    struct kllm_ctx *ctx;
    const struct kllm_image *m;
    struct kllm_kernels k;
    uint32_t n_token;
    uint32_t thread;
    uint32_t n_thread;
};

struct span {
    uint32_t begin;
    uint32_t end;
};

// The share of n units that falls to this thread: contiguous, as even as possible.
static struct span share(const struct pass *p, uint32_t n) {
    return (struct span){(uint32_t)((uint64_t)n * p->thread / p->n_thread),
                         (uint32_t)((uint64_t)n * (p->thread + 1) / p->n_thread)};
}

static const struct kllm_tensor *model_tensor(const struct pass *p, enum kllm_tensor_slot slot) {
    return tensor_table(p->m) + slot;
}

// Returns the data of an f32 tensor, or NULL if the model has none.
static const float *f32_of(const struct pass *p, const struct kllm_tensor *tensor) {
    return tensor->dtype == KLLM_NONE ? NULL : tensor_data(p->m, tensor);
}

static int is_quantized(uint32_t dtype) {
    return dtype != KLLM_F32 && dtype != KLLM_F16;
}

static void add(float *y, const float *x, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

static void embed(const struct pass *p, float *x, const struct pass_token *token) {
    const struct kllm_tensor *table = model_tensor(p, KLLM_T_TOKEN_EMBD);
    const void *w = tensor_data(p->m, table);
    uint32_t n = p->m->n_embd;
    switch (table->dtype) {
    case KLLM_F32:
        memcpy(x, (const float *)w + (uint64_t)token->id * n, n * sizeof *x);
        break;
    case KLLM_F16:
        p->k.dequantize_f32_f16(x, w, token->id, n);
        break;
    case KLLM_Q4_0:
        p->k.dequantize_f32_q4_0(x, w, token->id, n);
        break;
    case KLLM_Q4_1:
        p->k.dequantize_f32_q4_1(x, w, token->id, n);
        break;
    default:
        p->k.dequantize_f32_q8_0(x, w, token->id, n);
        break;
    }
    const float *pos = f32_of(p, model_tensor(p, KLLM_T_POS_EMBD));
    if (pos != NULL) {
        add(x, pos + (uint64_t)token->pos * n, n);
    }
}

static void norm(const struct pass *p, float *y, const float *x, const struct kllm_tensor *w,
                 const struct kllm_tensor *b) {
    if (p->m->arch == KLLM_ARCH_GPT2) {
        p->k.layernorm_f32(y, x, f32_of(p, w), f32_of(p, b), p->m->n_embd, p->m->norm_eps);
    } else {
        p->k.rmsnorm_f32(y, x, f32_of(p, w), p->m->n_embd, p->m->norm_eps);
    }
}

// The inputs of a matrix: n_token rows as floats and, for quantised weights, as "q8" rows without
// their outliers, and the outliers.
struct inputs {
    const float *x;
    const void *act;
    const struct outlier *outliers;
    uint32_t n_token;
};

// One token is cheaper prepared by every thread for itself than waited for: then rows are private.
static uint32_t first_private_row(const struct pass *p, uint32_t n_token) {
    return n_token == 1 ? p->thread : 0;
}

static struct span prepare_share(const struct pass *p, uint32_t n_token) {
    return n_token == 1 ? (struct span){0, 1} : share(p, n_token);
}

static void prepare_done(const struct pass *p, uint32_t n_token) {
    if (n_token > 1) {
        kllm_team_barrier(p->ctx);
    }
}

static uint8_t *act_row(const struct pass *p, uint32_t row, uint32_t cols) {
    return (uint8_t *)region(p->ctx, KLLM_R_ACT) + row * q8_bytes(cols);
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
    uint32_t first = first_private_row(p, n_token);
    return (struct inputs){x, act_row(p, first, cols), outlier_row(p, first), n_token};
}

// Quantises n_token rows of x, stride floats apart. One row is shared by all threads, and each has
// to take outliers out of it: so each works on a copy of its own.
static struct inputs quantized_inputs(const struct pass *p, float *x, uint32_t stride,
                                      uint32_t cols, uint32_t n_token) {
    uint32_t first = first_private_row(p, n_token);
    struct span own = prepare_share(p, n_token);
    if (n_token == 1 && p->n_thread > 1) {
        float *copy = (float *)region(p->ctx, KLLM_R_COPY) + (uint64_t)p->thread * widest(p->m);
        x = memcpy(copy, x, cols * sizeof *x);
    }
    for (uint32_t t = own.begin; t < own.end; t++) {
        quantize_row(p, x + (uint64_t)t * stride, cols, first + t);
    }
    prepare_done(p, n_token);
    return inputs_of(p, x, cols, n_token);
}

// Normalises and quantises n_token rows of x [n_embd].
static struct inputs norm_inputs(const struct pass *p, const float *x, uint32_t n_token,
                                 const struct kllm_tensor *w, const struct kllm_tensor *b) {
    uint32_t n = p->m->n_embd;
    uint32_t first = first_private_row(p, n_token);
    float *y = (float *)region(p->ctx, KLLM_R_NORM) + (uint64_t)first * n;
    struct span own = prepare_share(p, n_token);
    for (uint32_t t = own.begin; t < own.end; t++) {
        norm(p, y + (uint64_t)t * n, x + (uint64_t)t * n, w, b);
        quantize_row(p, y + (uint64_t)t * n, n, first + t);
    }
    prepare_done(p, n_token);
    return inputs_of(p, y, n, n_token);
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

// Rows [begin, end) of a matrix times the inputs, plus the bias, begin a multiple of KLLM_GROUP.
// In parts that stay in the second cache, so that the outliers find the weights there.
static void multiply(const struct pass *p, float *y, uint32_t y_stride,
                     const struct kllm_tensor *w, const struct kllm_tensor *bias, struct inputs in,
                     struct span rows) {
    struct multiplier k = multiplier_of(p, w->dtype);
    uint64_t group_bytes = kllm_tensor_bytes(w->dtype, KLLM_GROUP, w->cols);
    uint32_t step = (uint32_t)(1 + PART_BYTES / group_bytes) * KLLM_GROUP;
    const uint8_t *data = tensor_data(p->m, w);
    const float *b = bias == NULL ? NULL : f32_of(p, bias);
    for (uint32_t r = rows.begin; r < rows.end; r += step) {
        uint32_t n_row = min_u32(step, rows.end - r);
        const uint8_t *part = data + r / KLLM_GROUP * group_bytes;
        k.matmul(y + r, part, k.patch == NULL ? (const void *)in.x : in.act, n_row, w->cols,
                 in.n_token, y_stride);
        if (k.patch != NULL) {
            k.patch(y + r, part, in.outliers, n_row, w->cols, in.n_token, y_stride);
        }
        for (uint32_t t = 0; t < in.n_token && b != NULL; t++) {
            add(y + (uint64_t)t * y_stride + r, b + r, n_row);
        }
    }
}

// This thread's share of a matrix's rows, in whole groups.
static struct span row_share(const struct pass *p, uint32_t rows) {
    struct span groups = share(p, (rows + KLLM_GROUP - 1) / KLLM_GROUP);
    return (struct span){groups.begin * KLLM_GROUP, min_u32(groups.end * KLLM_GROUP, rows)};
}

static void multiply_qkv(const struct pass *p, const struct kllm_tensor *layer, struct inputs in) {
    const uint32_t slots[3] = {KLLM_T_Q, KLLM_T_K, KLLM_T_V};
    uint32_t n_q = layer[KLLM_T_Q].rows;
    uint32_t n_kv = layer[KLLM_T_K].rows;
    uint32_t first[4] = {0, n_q, n_q + n_kv, n_q + 2 * n_kv}; // all multiples of KLLM_GROUP
    struct span own = row_share(p, first[3]);
    float *y = region(p->ctx, KLLM_R_QKV);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t begin = own.begin > first[i] ? own.begin : first[i];
        uint32_t end = min_u32(own.end, first[i + 1]);
        if (begin < end) {
            multiply(p, y + first[i], first[3], &layer[slots[i]], &layer[slots[i] + 1], in,
                     (struct span){begin - first[i], end - first[i]});
        }
    }
}

// x += W in, through the NORM region, which holds nothing that is still needed by then.
static void multiply_residual(const struct pass *p, const struct kllm_tensor *w,
                              const struct kllm_tensor *bias, struct inputs in) {
    uint32_t n = p->m->n_embd;
    struct span rows = row_share(p, n);
    float *y = region(p->ctx, KLLM_R_NORM);
    float *x = region(p->ctx, KLLM_R_X);
    multiply(p, y, n, w, bias, in, rows);
    for (uint32_t t = 0; t < in.n_token && rows.begin < rows.end; t++) {
        uint64_t off = (uint64_t)t * n + rows.begin;
        add(x + off, y + off, rows.end - rows.begin);
    }
    kllm_team_barrier(p->ctx);
}

// Appending is shared out by KV head, attention by query head, which divides more evenly; heads
// that share a KV head and fall to one thread go together.
static void attention(const struct pass *p, uint32_t layer) {
    const struct kllm_image *m = p->m;
    uint64_t work_bytes = kllm_attention_work_bytes(m, p->ctx->config.n_ctx);
    void *work = (uint8_t *)region(p->ctx, KLLM_R_WORK) + p->thread * work_bytes;
    struct span own = share(p, p->n_token * m->n_head_kv);
    for (uint32_t i = own.begin; i < own.end; i++) {
        kllm_attention_append(p->ctx, m, &p->k, layer, i / m->n_head_kv, i % m->n_head_kv, work);
    }
    kllm_team_barrier(p->ctx);
    uint32_t n_group = m->n_head / m->n_head_kv;
    own = share(p, p->n_token * m->n_head);
    for (uint32_t i = own.begin; i < own.end;) {
        uint32_t n_head = min_u32(n_group - i % n_group, own.end - i);
        kllm_attention(p->ctx, m, &p->k, layer, i / m->n_head, i % m->n_head, n_head, work);
        i += n_head;
    }
    kllm_team_barrier(p->ctx);
}

static void feed_forward(const struct pass *p, const struct kllm_tensor *layer, struct inputs in) {
    uint32_t n = p->m->n_ff;
    uint32_t stride = 2 * n;
    struct span rows = row_share(p, n);
    float *gate = region(p->ctx, KLLM_R_FFN);
    float *up = gate + n;
    multiply(p, up, stride, &layer[KLLM_T_UP], &layer[KLLM_T_UP_BIAS], in, rows);
    if (p->m->arch == KLLM_ARCH_LLAMA) {
        multiply(p, gate, stride, &layer[KLLM_T_GATE], NULL, in, rows);
    }
    for (uint32_t t = 0; t < in.n_token && rows.begin < rows.end; t++) {
        uint64_t off = (uint64_t)t * stride + rows.begin;
        if (p->m->arch == KLLM_ARCH_LLAMA) {
            p->k.swiglu_f32(gate + off, gate + off, up + off, rows.end - rows.begin);
        } else {
            p->k.gelu_f32(gate + off, up + off, rows.end - rows.begin);
        }
    }
    kllm_team_barrier(p->ctx);
}

// The f32 and f16 kernels take rows end to end: closes the gaps between rows of the FFN region.
static void close_gaps(const struct pass *p, float *x, uint32_t n, uint32_t stride) {
    if (p->n_token > 1) {
        if (p->thread == 0) {
            for (uint32_t t = 1; t < p->n_token; t++) {
                memmove(x + (uint64_t)t * n, x + (uint64_t)t * stride, n * sizeof *x);
            }
        }
        kllm_team_barrier(p->ctx);
    }
}

static void run_layer(const struct pass *p, uint32_t index) {
    const struct kllm_tensor *layer = layer_tensors(p->m, index);
    const float *x = region(p->ctx, KLLM_R_X);
    uint32_t n_q = p->m->n_head * p->m->head_dim;

    struct inputs in =
        norm_inputs(p, x, p->n_token, &layer[KLLM_T_ATTN_NORM], &layer[KLLM_T_ATTN_NORM_BIAS]);
    multiply_qkv(p, layer, in);
    kllm_team_barrier(p->ctx);
    attention(p, index);
    in = quantized_inputs(p, region(p->ctx, KLLM_R_ATTN), n_q, n_q, p->n_token);
    multiply_residual(p, &layer[KLLM_T_O], &layer[KLLM_T_O_BIAS], in);

    in = norm_inputs(p, x, p->n_token, &layer[KLLM_T_FFN_NORM], &layer[KLLM_T_FFN_NORM_BIAS]);
    feed_forward(p, layer, in);
    float *ffn = region(p->ctx, KLLM_R_FFN);
    uint32_t stride = 2 * p->m->n_ff;
    if (!is_quantized(layer[KLLM_T_DOWN].dtype)) {
        close_gaps(p, ffn, p->m->n_ff, stride);
        stride = p->m->n_ff;
    }
    in = quantized_inputs(p, ffn, stride, p->m->n_ff, p->n_token);
    multiply_residual(p, &layer[KLLM_T_DOWN], &layer[KLLM_T_DOWN_BIAS], in);
}

// Logits of pass tokens [begin, end), whose rows of logits follow each other.
static void output_run(const struct pass *p, const struct pass_token *tokens, struct span run) {
    const float *x = (const float *)region(p->ctx, KLLM_R_X) + (uint64_t)run.begin * p->m->n_embd;
    const struct kllm_tensor *w = model_tensor(p, KLLM_T_OUTPUT);
    uint32_t n_vocab = p->m->n_vocab;
    float *logits = region(p->ctx, KLLM_R_LOGITS);
    logits += (uint64_t)tokens[run.begin].logits_row * n_vocab;
    struct inputs in = norm_inputs(p, x, run.end - run.begin, model_tensor(p, KLLM_T_OUT_NORM),
                                   model_tensor(p, KLLM_T_OUT_NORM_BIAS));
    multiply(p, logits, n_vocab, w, NULL, in, row_share(p, n_vocab));
    kllm_team_barrier(p->ctx);
}

static void output(const struct pass *p) {
    const struct pass_token *tokens = region(p->ctx, KLLM_R_BATCH);
    for (uint32_t t = 0; t < p->n_token;) {
        uint32_t end = t + 1;
        if (tokens[t].logits_row != KLLM_NO_LOGITS) {
            while (end < p->n_token && tokens[end].logits_row == tokens[end - 1].logits_row + 1) {
                end++;
            }
            output_run(p, tokens, (struct span){t, end});
        }
        t = end;
    }
}

void kllm_pass(struct kllm_ctx *ctx, const struct kllm_image *image, uint32_t thread) {
    struct pass p = {.ctx = ctx,
                     .m = image,
                     .n_token = ctx->n_token,
                     .thread = thread,
                     .n_thread = ctx->team.n_running + 1};
    kllm_dispatch(&p.k, ctx->cpu);
    const struct pass_token *tokens = region(ctx, KLLM_R_BATCH);
    float *x = region(ctx, KLLM_R_X);
    struct span own = share(&p, p.n_token);
    for (uint32_t t = own.begin; t < own.end; t++) {
        embed(&p, x + (uint64_t)t * image->n_embd, &tokens[t]);
    }
    kllm_team_barrier(ctx);
    for (uint32_t layer = 0; layer < image->n_layer; layer++) {
        run_layer(&p, layer);
    }
    output(&p);
}

// Refuses what kllm_eval may not do; leaves the sequence lengths as they were.
static int32_t check_call(const struct kllm_ctx *ctx, const struct kllm_image *m,
                          const uint32_t *tokens, const uint32_t *slots, uint32_t n_token,
                          uint32_t logits) {
    if (ctx->abi != kllm_abi_version() || ctx->header_crc != m->header_crc) {
        return KLLM_ERR_ABI;
    }
    if (n_token == 0 || logits > KLLM_LOGITS_ALL ||
        (logits == KLLM_LOGITS_ALL && n_token > ctx->config.n_logits)) {
        return KLLM_ERR_RANGE;
    }
    uint32_t *n_held = region(ctx, KLLM_R_SLOT);
    int32_t status = KLLM_OK;
    uint32_t n_counted = 0;
    for (uint32_t i = 0; i < n_token && status == KLLM_OK; i++) {
        if (tokens[i] >= m->n_vocab || slots[i] >= ctx->config.n_slot) {
            status = KLLM_ERR_RANGE;
        } else if (n_held[slots[i]] == ctx->config.n_ctx) {
            status = KLLM_ERR_SPACE;
        } else {
            n_held[slots[i]]++;
            n_counted++;
        }
    }
    for (uint32_t i = 0; i < n_counted; i++) {
        n_held[slots[i]]--;
    }
    return status;
}

// True if no later token of the call belongs to the same sequence.
static int is_last(const uint32_t *slots, uint32_t i, uint32_t n_token) {
    for (uint32_t j = i + 1; j < n_token; j++) {
        if (slots[j] == slots[i]) {
            return 0;
        }
    }
    return 1;
}

// Places tokens [begin, end) of a call in the pass. Looking back stops at the first match, and a
// prompt matches at once: the search is long only for many sequences, which are few.
static void fill_pass(struct kllm_ctx *ctx, const uint32_t *tokens, const uint32_t *slots,
                      struct span part, uint32_t n_token, uint32_t logits) {
    uint32_t *n_held = region(ctx, KLLM_R_SLOT);
    uint32_t *history = region(ctx, KLLM_R_HISTORY);
    struct pass_token *out = region(ctx, KLLM_R_BATCH);
    ctx->n_token = part.end - part.begin;
    for (uint32_t i = part.begin; i < part.end; i++, out++) {
        uint32_t slot = slots[i];
        *out = (struct pass_token){tokens[i], slot, n_held[slot]++, KLLM_NO_LOGITS};
        history[(uint64_t)slot * ctx->config.n_ctx + out->pos] = tokens[i];
        if (logits == KLLM_LOGITS_ALL) {
            out->logits_row = i;
        } else if (logits == KLLM_LOGITS_LAST && is_last(slots, i, n_token)) {
            out->logits_row = slot;
        }
    }
}

int32_t kllm_eval(void *arena, const void *image, const uint32_t *tokens, const uint32_t *slots,
                  uint32_t n_token, uint32_t logits) {
    struct kllm_ctx *ctx = arena;
    int32_t status = check_call(ctx, image, tokens, slots, n_token, logits);
    if (status != KLLM_OK) {
        return status;
    }
    for (uint32_t i = 0; i < n_token; i += ctx->config.n_batch) {
        struct span part = {i, i + min_u32(ctx->config.n_batch, n_token - i)};
        fill_pass(ctx, tokens, slots, part, n_token, logits);
        kllm_team_run(ctx, image);
    }
    return KLLM_OK;
}
