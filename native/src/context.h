// SPDX-License-Identifier: Apache-2.0
// The open model: what stands at the start of the arena, and how its regions are reached.
#ifndef KLLM_CONTEXT_H
#define KLLM_CONTEXT_H

#include "kernels.h"
#include "team.h"

// Everything fixed at open. Offsets only; the image is passed to every call.
struct kllm_ctx {
    uint32_t abi;        // kllm_abi_version
    uint32_t header_crc; // of the image it was opened with
    uint32_t cpu;        // kllm_cpu_bit mask in force
    uint32_t n_token;    // tokens of the pass in hand
    struct kllm_config config;
    struct kllm_plan plan;
    struct team team;
};

/// Returns the start of a region.
KLLM_INLINE void *region(const struct kllm_ctx *ctx, enum kllm_region_idx idx) {
    return (uint8_t *)(uintptr_t)ctx + ctx->plan.region[idx].off;
}

KLLM_INLINE const struct kllm_tensor *tensor_table(const struct kllm_image *image) {
    return (const struct kllm_tensor *)(const void *)((const uint8_t *)image + image->tensors_off);
}

KLLM_INLINE const struct kllm_tensor *layer_tensors(const struct kllm_image *image,
                                                    uint32_t layer) {
    return tensor_table(image) + KLLM_T_MODEL_COUNT + layer * KLLM_T_LAYER_COUNT;
}

KLLM_INLINE const void *tensor_data(const struct kllm_image *image,
                                    const struct kllm_tensor *tensor) {
    return (const uint8_t *)image + tensor->off;
}

/// Returns the columns of the widest matrix.
KLLM_INLINE uint32_t widest(const struct kllm_image *m) {
    return max_u32(max_u32(m->n_embd, m->n_ff), m->n_head * m->head_dim);
}

/// Returns the floats from one token's row of gate and up to the next: a line more than it holds,
/// so that the rows of many tokens do not all fall into the same cache sets.
KLLM_INLINE uint32_t ffn_stride(const struct kllm_image *m) {
    return 2 * m->n_ff + KLLM_GROUP;
}

// Geometry of the KV cache. Keys and values of one head of one layer of one sequence are one
// contiguous block: f32 and f16 [n_ctx][head_dim]; q8_0 keys as packed rows, values as in layout.h.
struct kv_shape {
    uint64_t k_bytes; // of one head
    uint64_t v_bytes;
};

struct kv_shape kllm_kv_shape(uint32_t dtype, uint32_t n_ctx, uint32_t head_dim);

// Tokens of a prompt whose queries are multiplied by the keys together: more would share the keys
// better, but need more work space and compute more scores that lie past a token's own position.
enum { KLLM_ATTN_TOKENS = 8 };

/// Returns the work space of attention that each thread needs, in bytes.
uint64_t kllm_attention_work_bytes(const struct kllm_image *image,
                                   const struct kllm_config *config);

/// Rotates Q and K of pass token `token` for one KV head and appends its K and V to the cache.
void kllm_attention_append(struct kllm_ctx *ctx, const struct kllm_image *image,
                           const struct kllm_kernels *kernels, uint32_t layer, uint32_t token,
                           uint32_t head_kv, void *work);

// Query heads that share a KV head, of tokens that follow each other in one sequence.
struct attention_part {
    uint32_t token;   // first pass token
    uint32_t n_token; // at most KLLM_ATTN_TOKENS
    uint32_t head;    // first query head
    uint32_t n_head;
};

/// Computes attention of a part.
void kllm_attention(struct kllm_ctx *ctx, const struct kllm_image *image,
                    const struct kllm_kernels *kernels, uint32_t layer, struct attention_part part,
                    void *work);

/// Runs the pass in hand as thread `thread` of the team.
void kllm_pass(struct kllm_ctx *ctx, const struct kllm_image *image, uint32_t thread);

// What a pass knows of a token.
struct pass_token {
    uint32_t id;
    uint32_t seq;
    uint32_t pos;
    uint32_t logits_row; // KLLM_NO_LOGITS if none are wanted
};

#define KLLM_NO_LOGITS 0xffffffffu

#endif
