// SPDX-License-Identifier: Apache-2.0
// kllm_eval: checks a call, then runs it in passes of at most n_batch tokens.
#include "pass.h"

// Refuses what kllm_eval may not do; leaves the sequence lengths as they were.
static int32_t check_call(const struct kllm_ctx *ctx, const struct kllm_image *m,
                          const uint32_t *tokens, const uint32_t *seqs, uint32_t n_token,
                          uint32_t logits) {
    if (ctx->abi != kllm_abi_version() || ctx->header_crc != m->header_crc) {
        return KLLM_ERR_ABI;
    }
    if (n_token == 0 || logits > KLLM_LOGITS_ALL ||
        (logits == KLLM_LOGITS_ALL && n_token > ctx->config.n_logits)) {
        return KLLM_ERR_RANGE;
    }
    uint32_t *n_held = region(ctx, KLLM_R_SEQ);
    int32_t status = KLLM_OK;
    uint32_t n_counted = 0;
    for (uint32_t i = 0; i < n_token && status == KLLM_OK; i++) {
        if (tokens[i] >= m->n_vocab || seqs[i] >= ctx->config.n_seq) {
            status = KLLM_ERR_RANGE;
        } else if (n_held[seqs[i]] == ctx->config.n_ctx) {
            status = KLLM_ERR_SPACE;
        } else {
            n_held[seqs[i]]++;
            n_counted++;
        }
    }
    for (uint32_t i = 0; i < n_counted; i++) {
        n_held[seqs[i]]--;
    }
    return status;
}

// True if no later token of the call belongs to the same sequence.
static int is_last(const uint32_t *seqs, uint32_t i, uint32_t n_token) {
    for (uint32_t j = i + 1; j < n_token; j++) {
        if (seqs[j] == seqs[i]) {
            return 0;
        }
    }
    return 1;
}

// Places tokens [begin, end) of a call in the pass. Looking back stops at the first match, and a
// prompt matches at once: the search is long only for many sequences, which are few.
static void fill_pass(struct kllm_ctx *ctx, const uint32_t *tokens, const uint32_t *seqs,
                      struct span part, uint32_t n_token, uint32_t logits) {
    uint32_t *n_held = region(ctx, KLLM_R_SEQ);
    uint32_t *history = region(ctx, KLLM_R_HISTORY);
    struct pass_token *out = region(ctx, KLLM_R_BATCH);
    ctx->n_token = part.end - part.begin;
    for (uint32_t i = part.begin; i < part.end; i++, out++) {
        uint32_t seq = seqs[i];
        *out = (struct pass_token){tokens[i], seq, n_held[seq]++, KLLM_NO_LOGITS};
        history[(uint64_t)seq * ctx->config.n_ctx + out->pos] = tokens[i];
        if (logits == KLLM_LOGITS_ALL) {
            out->logits_row = i;
        } else if (logits == KLLM_LOGITS_LAST && is_last(seqs, i, n_token)) {
            out->logits_row = seq;
        }
    }
}

// Tokens of a pass for each thread, or up to twice as many: enough to share out tokens instead of
// rows, and few enough that what lies between two matrices stays in the second cache.
enum { PASS_TOKENS = 64 };

// Returns the tokens of each pass but the last, which has the same or fewer.
static uint32_t pass_length(const struct kllm_config *config, uint32_t n_token) {
    uint32_t n_pass =
        max_u32(n_token / (PASS_TOKENS * config->n_thread), (n_token - 1) / config->n_batch + 1);
    return (n_token - 1) / n_pass + 1;
}

int32_t kllm_eval(void *arena, const void *image, const uint32_t *tokens, const uint32_t *seqs,
                  uint32_t n_token, uint32_t logits) {
    struct kllm_ctx *ctx = arena;
    int32_t status = check_call(ctx, image, tokens, seqs, n_token, logits);
    if (status != KLLM_OK) {
        return status;
    }
    uint32_t n_each = pass_length(&ctx->config, n_token);
    for (uint32_t i = 0; i < n_token; i += n_each) {
        struct span part = {i, i + min_u32(n_each, n_token - i)};
        fill_pass(ctx, tokens, seqs, part, n_token, logits);
        kllm_team_run(ctx, image);
    }
    return KLLM_OK;
}
