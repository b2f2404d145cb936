// SPDX-License-Identifier: Apache-2.0
// Chooses a token from logits. Steps, in this order: repetition penalty, top-k, top-p, min-p,
// temperature, one draw. Candidates are ranked by logit, then by lower id.
#include "context.h"
#include "libm.h"

struct candidate {
    float logit;
    uint32_t id;
};

static int ranks_before(struct candidate a, struct candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// Restores the heap below `root`: each parent ranks before its children.
static void sift_down(struct candidate *heap, uint32_t root, uint32_t n) {
    struct candidate moving = heap[root];
    for (uint32_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && ranks_before(heap[child + 1], heap[child])) {
            child++;
        }
        if (!ranks_before(heap[child], moving)) {
            break;
        }
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = moving;
}

// Moves the best candidate of heap[0, n) to heap[n - 1].
static struct candidate pop(struct candidate *heap, uint32_t n) {
    struct candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sift_down(heap, 0, n - 1);
    return best;
}

// SplitMix64 (Steele, Lea, Flood 2014): the upper 53 bits of a draw as a number in [0, 1).
static double draw(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static int is_repeated(const uint32_t *recent, uint32_t n, uint32_t id) {
    for (uint32_t i = 0; i < n; i++) {
        if (recent[i] == id) {
            return 1;
        }
    }
    return 0;
}

// Divides positive logits of the last tokens by the penalty, multiplies the others; each id once.
static void penalise(struct candidate *candidates, const uint32_t *recent, uint32_t n,
                     float penalty) {
    for (uint32_t i = 0; i < n; i++) {
        if (!is_repeated(recent, i, recent[i])) {
            float *logit = &candidates[recent[i]].logit;
            *logit = *logit > 0.0f ? *logit / penalty : *logit * penalty;
        }
    }
}

// How many of the k best candidates, popped to the end of the array, top-p and min-p keep.
// best[-i] is candidate i in rank order; probabilities are exp(logit - max) / total.
static uint32_t keep(const struct candidate *best, uint32_t k, const struct kllm_sampler *s,
                     double total) {
    double mass = 0.0;
    for (uint32_t i = 0; i < k; i++) {
        float weight = exp_f32(best[-(int64_t)i].logit - best[0].logit);
        if (i > 0 && (mass >= (double)s->top_p * total || weight < s->min_p)) {
            return i;
        }
        mass += (double)weight;
    }
    return k;
}

static uint32_t sample(struct candidate *heap, uint32_t n, struct kllm_sampler *s) {
    for (uint32_t i = n / 2; i-- > 0;) {
        sift_down(heap, i, n);
    }
    uint32_t k = s->top_k == 0 ? n : min_u32(s->top_k, n);
    const struct candidate *best = heap + n - 1;
    for (uint32_t i = 0; i < k; i++) {
        pop(heap, n - i);
    }
    double total = 0.0;
    for (uint32_t i = 0; i < k; i++) {
        total += (double)exp_f32(best[-(int64_t)i].logit - best[0].logit);
    }
    k = keep(best, k, s, total);
    total = 0.0;
    for (uint32_t i = 0; i < k; i++) {
        total += (double)exp_f32((best[-(int64_t)i].logit - best[0].logit) / s->temperature);
    }
    double left = draw(&s->rng_state) * total;
    for (uint32_t i = 0; i + 1 < k; i++) {
        left -= (double)exp_f32((best[-(int64_t)i].logit - best[0].logit) / s->temperature);
        if (left < 0.0) {
            return best[-(int64_t)i].id;
        }
    }
    return best[-(int64_t)(k - 1)].id;
}

static int in_range(const struct kllm_sampler *s) {
    return s->temperature >= 0.0f && s->temperature <= 100.0f && s->top_p >= 0.0f &&
           s->top_p <= 1.0f && s->min_p >= 0.0f && s->min_p <= 1.0f &&
           s->repeat_penalty >= 0.01f && s->repeat_penalty <= 100.0f;
}

// Says whether all of x[n] are finite: they are if their sum is, which only overflows otherwise.
static int are_finite(const struct kllm_kernels *kernels, const float *x, uint32_t n) {
    if (is_finite_f32(kernels->sum_f32(x, n))) {
        return 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!is_finite_f32(x[i])) {
            return 0;
        }
    }
    return 1;
}

int32_t kllm_sample(void *arena, const void *image, uint32_t row, uint32_t seq,
                    struct kllm_sampler *s) {
    struct kllm_ctx *ctx = arena;
    uint32_t n = ((const struct kllm_image *)image)->n_vocab;
    if (row >= ctx->config.n_logits || seq >= ctx->config.n_seq || !in_range(s)) {
        return KLLM_ERR_RANGE;
    }
    const float *logits = (const float *)region(ctx, KLLM_R_LOGITS) + (uint64_t)row * n;
    struct kllm_kernels kernels;
    kllm_dispatch(&kernels, ctx->cpu);
    if (!are_finite(&kernels, logits, n)) {
        return KLLM_ERR_FORMAT;
    }
    if (s->temperature == 0.0f && s->repeat_penalty == 1.0f) {
        return (int32_t)kernels.argmax_f32(logits, n);
    }
    struct candidate *candidates = region(ctx, KLLM_R_SAMPLE);
    for (uint32_t i = 0; i < n; i++) {
        candidates[i] = (struct candidate){logits[i], i};
    }
    if (s->repeat_penalty != 1.0f) {
        uint32_t n_held = ((const uint32_t *)region(ctx, KLLM_R_SEQ))[seq];
        uint32_t n_recent = min_u32(s->repeat_last_n, n_held);
        const uint32_t *end = (const uint32_t *)region(ctx, KLLM_R_HISTORY) +
                              (uint64_t)seq * ctx->config.n_ctx + n_held;
        penalise(candidates, end - n_recent, n_recent, s->repeat_penalty);
    }
    if (s->temperature == 0.0f) {
        struct candidate best = candidates[0];
        for (uint32_t i = 1; i < n; i++) {
            best = ranks_before(candidates[i], best) ? candidates[i] : best;
        }
        return (int32_t)best.id;
    }
    return (int32_t)sample(candidates, n, s);
}

// ln(x) for x >= 1, by frexp and the series of 2 atanh((m - 1) / (m + 1)); error below 1e-12.
static double log_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t exponent = (int32_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1.0) / (m + 1.0); // 0 .. 1/3, so s^2 <= 1/9
    double sum = 0.0;
    for (int32_t i = 27; i >= 1; i -= 2) {
        sum = sum * s * s + 1.0 / i;
    }
    return 2.0 * s * sum + exponent * 0.6931471805599453;
}

int32_t kllm_score(const void *arena, const void *image, uint32_t row, uint32_t token, float *nll,
                   uint32_t *top1) {
    const struct kllm_ctx *ctx = arena;
    uint32_t n = ((const struct kllm_image *)image)->n_vocab;
    if (row >= ctx->config.n_logits || token >= n) {
        return KLLM_ERR_RANGE;
    }
    const float *logits = (const float *)region(ctx, KLLM_R_LOGITS) + (uint64_t)row * n;
    struct kllm_kernels kernels;
    kllm_dispatch(&kernels, ctx->cpu);
    if (!are_finite(&kernels, logits, n)) {
        return KLLM_ERR_FORMAT;
    }
    uint32_t best = kernels.argmax_f32(logits, n);
    double total = 0.0; // at least 1: the best token counts exp(0)
    for (uint32_t i = 0; i < n; i++) {
        total += (double)exp_f32(logits[i] - logits[best]);
    }
    *nll = (float)(log_f64(total) - (double)(logits[token] - logits[best]));
    *top1 = best;
    return KLLM_OK;
}
