// SPDX-License-Identifier: Apache-2.0
// What the parts of a pass share: the pass itself, shares of work, inputs of matrices.
#ifndef KLLM_PASS_H
#define KLLM_PASS_H

#include "context.h"

// A pass as one thread of the team sees it.
struct pass {
    struct kllm_ctx *ctx;
    const struct kllm_image *m;
    struct kllm_kernels k;
    uint32_t n_token;
    uint32_t thread;
    uint32_t n_thread;
    struct turn turn;
};

struct span {
    uint32_t begin;
    uint32_t end;
};

// A stage of a pass, what all threads do before any goes on, is a loop over the shares of it that
// fall to this thread, of n_part for each. Only inside may it write what others read.
KLLM_INLINE int next_share(struct pass *p, uint32_t n_part) {
    return kllm_team_next(p->ctx, p->thread, &p->turn, n_part);
}

// What of n units the share in hand covers: contiguous, as even as possible.
KLLM_INLINE struct span share(const struct pass *p, uint32_t n) {
    return (struct span){(uint32_t)((uint64_t)n * p->turn.share / p->turn.n_share),
                         (uint32_t)((uint64_t)n * (p->turn.share + 1) / p->turn.n_share)};
}

// The same of a matrix's rows, in whole groups.
KLLM_INLINE struct span row_share(const struct pass *p, uint32_t rows) {
    struct span groups = share(p, (rows + KLLM_GROUP - 1) / KLLM_GROUP);
    return (struct span){groups.begin * KLLM_GROUP, min_u32(groups.end * KLLM_GROUP, rows)};
}

KLLM_INLINE const struct kllm_tensor *model_tensor(const struct pass *p,
                                                   enum kllm_tensor_slot slot) {
    return tensor_table(p->m) + slot;
}

// Returns the data of an f32 tensor, or NULL if the model has none.
KLLM_INLINE const float *f32_of(const struct pass *p, const struct kllm_tensor *tensor) {
    return tensor->dtype == KLLM_NONE ? NULL : tensor_data(p->m, tensor);
}

// y += x. Eight at a time by hand: at -O2 compilers leave such a loop as it is.
KLLM_INLINE void add(float *y, const float *x, uint64_t n) {
    typedef float vector __attribute__((vector_size(32), aligned(4), may_alias));
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        *(vector *)(void *)(y + i) += *(const vector *)(const void *)(x + i);
    }
    for (; i < n; i++) {
        y[i] += x[i];
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

// For what a matrix input is made ready.
enum use { AS_FLOATS, QUANTIZED };

KLLM_INLINE enum use use_of(const struct kllm_tensor *w) {
    return w->dtype == KLLM_F32 || w->dtype == KLLM_F16 ? AS_FLOATS : QUANTIZED;
}

/// Makes n_token rows of x, stride floats apart, inputs: quantised, or their gaps closed. All
/// threads call it, each does its share.
struct inputs kllm_inputs(struct pass *p, float *x, uint32_t stride, uint32_t cols,
                          uint32_t n_token, enum use use);

/// Normalises n_token rows of x [n_embd] to inputs; all threads call it.
struct inputs kllm_norm_inputs(struct pass *p, const float *x, uint32_t n_token,
                               const struct kllm_tensor *w, const struct kllm_tensor *b,
                               enum use use);

/// Returns the inputs of tokens [begin, end) alone; cols: of a row.
struct inputs kllm_some_inputs(struct inputs in, uint32_t cols, struct span tokens);

/// Multiplies rows [begin, end) of a matrix by the inputs and adds the bias, if there is one.
/// begin is a multiple of KLLM_GROUP; token t's results start at y + t * y_stride.
void kllm_multiply(const struct pass *p, float *y, uint32_t y_stride, const struct kllm_tensor *w,
                   const struct kllm_tensor *bias, struct inputs in, struct span rows);

#endif
