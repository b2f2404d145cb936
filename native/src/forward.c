// SPDX-License-Identifier: Apache-2.0
// Tokens through the model. Every thread of the team runs kllm_pass; each computes shares of the
// rows, heads and tokens, stage by stage, where one needs what another made.
#include "pass.h"

enum {
    FEED_ROWS = 256,    // rows of gate and of up that are made before they are joined
    SHARED_TOKENS = 64, // least tokens of a share that is tokens, not rows
};

// One token: a thread whose rows come slower out of memory leaves some to the others if they are
// cut into parts of about this size.
enum { PART_BYTES = 512 * 1024 };

// Parts of a thread's share of so many matrices of one shape.
static uint32_t parts_of(const struct pass *p, const struct kllm_tensor *w, uint32_t n_matrix) {
    if (p->n_token > 1 || p->n_thread == 1) {
        return 1;
    }
    uint64_t n_bytes = n_matrix * kllm_tensor_bytes(w->dtype, w->rows, w->cols);
    uint64_t n_part = n_bytes / ((uint64_t)PART_BYTES * p->n_thread);
    return n_part < 1 ? 1 : min_u32((uint32_t)n_part, KLLM_MAX_PART);
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

// What of a product falls to the share in hand: tokens [first, first + in.n_token) times rows.
struct piece {
    uint32_t first;
    struct inputs in;
    struct span rows;
};

// Many tokens are shared out, not rows: a thread has those it made ready in its own cache.
static struct piece piece_of(const struct pass *p, struct inputs in, uint32_t cols,
                             uint32_t rows) {
    if (in.n_token < p->turn.n_share * SHARED_TOKENS) {
        return (struct piece){0, in, row_share(p, rows)};
    }
    struct span tokens = share(p, in.n_token);
    return (struct piece){tokens.begin, kllm_some_inputs(in, cols, tokens), {0, rows}};
}

static void multiply_qkv(const struct pass *p, const struct kllm_tensor *layer, struct inputs in) {
    const uint32_t slots[3] = {KLLM_T_Q, KLLM_T_K, KLLM_T_V};
    uint32_t n_q = layer[KLLM_T_Q].rows;
    uint32_t n_kv = layer[KLLM_T_K].rows;
    uint32_t first[4] = {0, n_q, n_q + n_kv, n_q + 2 * n_kv}; // all multiples of KLLM_GROUP
    struct piece own = piece_of(p, in, p->m->n_embd, first[3]);
    float *y = region(p->ctx, KLLM_R_QKV);
    y += (uint64_t)own.first * first[3];
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t begin = own.rows.begin > first[i] ? own.rows.begin : first[i];
        uint32_t end = min_u32(own.rows.end, first[i + 1]);
        if (begin < end) {
            kllm_multiply(p, y + first[i], first[3], &layer[slots[i]], &layer[slots[i] + 1],
                          own.in, (struct span){begin - first[i], end - first[i]});
        }
    }
}

// x += W in, through the QKV region, which holds nothing that is still needed by then.
static void multiply_residual(struct pass *p, const struct kllm_tensor *w,
                              const struct kllm_tensor *bias, struct inputs in) {
    uint32_t n = p->m->n_embd;
    while (next_share(p, parts_of(p, w, 1))) {
        struct piece own = piece_of(p, in, w->cols, n);
        uint64_t first = (uint64_t)own.first * n;
        float *y = (float *)region(p->ctx, KLLM_R_QKV) + first;
        float *x = (float *)region(p->ctx, KLLM_R_X) + first;
        kllm_multiply(p, y, n, w, bias, own.in, own.rows);
        for (uint32_t t = 0; t < own.in.n_token && own.rows.begin < own.rows.end; t++) {
            uint64_t off = (uint64_t)t * n + own.rows.begin;
            add(x + off, y + off, own.rows.end - own.rows.begin);
        }
    }
}

// Returns the end of the tokens from `token` on that are looked at together.
static uint32_t part_end(const struct pass *p, uint32_t token) {
    const struct pass_token *tokens = region(p->ctx, KLLM_R_BATCH);
    uint32_t last = min_u32(p->n_token, token + KLLM_ATTN_TOKENS);
    uint32_t end = token + 1;
    while (end < last && tokens[end].seq == tokens[token].seq) {
        end++;
    }
    return end;
}

// Parts of several tokens are dealt out in turn, since later ones look at more positions.
static void attend_many(const struct pass *p, uint32_t layer, void *work) {
    const struct kllm_image *m = p->m;
    uint32_t n_group = m->n_head / m->n_head_kv;
    uint32_t n_dealt = 0;
    uint32_t end;
    for (uint32_t token = 0; token < p->n_token; token = end) {
        end = part_end(p, token);
        for (uint32_t i = 0; i < m->n_head_kv; i++, n_dealt++) {
            if (n_dealt % p->turn.n_share == p->turn.share) {
                struct attention_part part = {token, end - token, i * n_group, n_group};
                kllm_attention(p->ctx, m, &p->k, layer, part, work);
            }
        }
    }
}

// One token is shared out by query head, which divides more evenly; heads that share a KV head and
// fall to one thread go together.
static void attend_one(const struct pass *p, uint32_t layer, void *work) {
    uint32_t n_group = p->m->n_head / p->m->n_head_kv;
    struct span own = share(p, p->m->n_head);
    for (uint32_t i = own.begin; i < own.end;) {
        uint32_t n_head = min_u32(n_group - i % n_group, own.end - i);
        kllm_attention(p->ctx, p->m, &p->k, layer, (struct attention_part){0, 1, i, n_head}, work);
        i += n_head;
    }
}

static void attention(struct pass *p, uint32_t layer) {
    const struct kllm_image *m = p->m;
    uint64_t work_bytes = kllm_attention_work_bytes(m, &p->ctx->config);
    void *work = (uint8_t *)region(p->ctx, KLLM_R_WORK) + p->thread * work_bytes;
    while (next_share(p, 1)) {
        struct span own = share(p, p->n_token * m->n_head_kv);
        for (uint32_t i = own.begin; i < own.end; i++) {
            kllm_attention_append(p->ctx, m, &p->k, layer, i / m->n_head_kv, i % m->n_head_kv,
                                  work);
        }
    }
    while (next_share(p, 1)) {
        if (p->n_token == 1) {
            attend_one(p, layer, work);
        } else {
            attend_many(p, layer, work);
        }
    }
}

// Rows of gate and up, joined, as many at a time as stay in the second cache for all tokens.
static void feed_rows(const struct pass *p, const struct kllm_tensor *layer, struct piece own) {
    uint32_t stride = ffn_stride(p->m);
    float *gate = region(p->ctx, KLLM_R_FFN);
    gate += (uint64_t)own.first * stride;
    float *up = gate + p->m->n_ff;
    uint32_t step = own.in.n_token == 1 ? p->m->n_ff : FEED_ROWS;
    for (uint32_t r = own.rows.begin; r < own.rows.end; r += step) {
        struct span part = {r, min_u32(r + step, own.rows.end)};
        if (p->m->arch == KLLM_ARCH_LLAMA) {
            kllm_multiply(p, gate, stride, &layer[KLLM_T_GATE], NULL, own.in, part);
        }
        kllm_multiply(p, up, stride, &layer[KLLM_T_UP], &layer[KLLM_T_UP_BIAS], own.in, part);
        for (uint32_t t = 0; t < own.in.n_token; t++) {
            uint64_t off = (uint64_t)t * stride + r;
            if (p->m->arch == KLLM_ARCH_LLAMA) {
                p->k.swiglu_f32(gate + off, gate + off, up + off, part.end - part.begin);
            } else {
                p->k.gelu_f32(gate + off, up + off, part.end - part.begin);
            }
        }
    }
}

// The use of inputs that several matrices share.
static enum use shared_use(const struct kllm_tensor *a, const struct kllm_tensor *b,
                           const struct kllm_tensor *c) {
    return use_of(a) == QUANTIZED || use_of(b) == QUANTIZED || use_of(c) == QUANTIZED ? QUANTIZED
                                                                                      : AS_FLOATS;
}

static void run_layer(struct pass *p, uint32_t index) {
    const struct kllm_tensor *layer = layer_tensors(p->m, index);
    const float *x = region(p->ctx, KLLM_R_X);
    uint32_t n_q = p->m->n_head * p->m->head_dim;
    uint32_t n_ff = p->m->n_ff;

    enum use use = shared_use(&layer[KLLM_T_Q], &layer[KLLM_T_K], &layer[KLLM_T_V]);
    struct inputs in = kllm_norm_inputs(p, x, p->n_token, &layer[KLLM_T_ATTN_NORM],
                                        &layer[KLLM_T_ATTN_NORM_BIAS], use);
    while (next_share(p, parts_of(p, &layer[KLLM_T_Q], 1))) {
        multiply_qkv(p, layer, in);
    }
    attention(p, index);
    in = kllm_inputs(p, region(p->ctx, KLLM_R_ATTN), n_q, n_q, p->n_token,
                     use_of(&layer[KLLM_T_O]));
    multiply_residual(p, &layer[KLLM_T_O], &layer[KLLM_T_O_BIAS], in);

    uint32_t gate = p->m->arch == KLLM_ARCH_LLAMA ? KLLM_T_GATE : KLLM_T_UP;
    use = shared_use(&layer[gate], &layer[KLLM_T_UP], &layer[KLLM_T_UP]);
    in = kllm_norm_inputs(p, x, p->n_token, &layer[KLLM_T_FFN_NORM], &layer[KLLM_T_FFN_NORM_BIAS],
                          use);
    while (next_share(p, parts_of(p, &layer[gate], 2))) {
        feed_rows(p, layer, piece_of(p, in, p->m->n_embd, n_ff));
    }
    in = kllm_inputs(p, region(p->ctx, KLLM_R_FFN), ffn_stride(p->m), n_ff, p->n_token,
                     use_of(&layer[KLLM_T_DOWN]));
    multiply_residual(p, &layer[KLLM_T_DOWN], &layer[KLLM_T_DOWN_BIAS], in);
}

// Logits of pass tokens [begin, end), whose rows of logits follow each other.
static void output_run(struct pass *p, const struct pass_token *tokens, struct span run) {
    const float *x = (const float *)region(p->ctx, KLLM_R_X) + (uint64_t)run.begin * p->m->n_embd;
    const struct kllm_tensor *w = model_tensor(p, KLLM_T_OUTPUT);
    uint32_t n_vocab = p->m->n_vocab;
    float *logits = region(p->ctx, KLLM_R_LOGITS);
    logits += (uint64_t)tokens[run.begin].logits_row * n_vocab;
    struct inputs in =
        kllm_norm_inputs(p, x, run.end - run.begin, model_tensor(p, KLLM_T_OUT_NORM),
                         model_tensor(p, KLLM_T_OUT_NORM_BIAS), use_of(w));
    while (next_share(p, parts_of(p, w, 1))) {
        kllm_multiply(p, logits, n_vocab, w, NULL, in, row_share(p, n_vocab));
    }
}

static void output(struct pass *p) {
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
                     .n_thread = ctx->team.n_running + 1,
                     .turn = {.stage = ctx->team.first, .n_share = 1}};
    kllm_dispatch(&p.k, ctx->cpu);
    const struct pass_token *tokens = region(ctx, KLLM_R_BATCH);
    float *x = region(ctx, KLLM_R_X);
    while (next_share(&p, 1)) {
        struct span own = share(&p, p.n_token);
        for (uint32_t t = own.begin; t < own.end; t++) {
            embed(&p, x + (uint64_t)t * image->n_embd, &tokens[t]);
        }
    }
    for (uint32_t layer = 0; layer < image->n_layer; layer++) {
        run_layer(&p, layer);
    }
    output(&p);
}
