// SPDX-License-Identifier: Apache-2.0
// Types of the kernels, the table that dispatch fills, and the prototypes of every variant.
//
// Kernels trust their arguments: shapes, alignment (64 bytes for packed weights, 4 for the rest)
// and non-overlap are the caller's business. They keep no state and touch only the stated bytes.
#ifndef KLLM_KERNELS_H
#define KLLM_KERNELS_H

#include "base.h"

/// Returns the lowest index of the largest of x[n], n >= 1. NaN counts as absent.
typedef uint32_t kllm_argmax_fn(const float *x, uint32_t n);

/// Adds up values weighted by attention, for n_head heads that share them.
///
///     out[h][d] = sum over positions t ascending of p[h][t] * v[t][d]
///
/// @param[out] out       f32[n_head][n]
/// @param[in]  p         f32[n_head][p_stride], none negative
/// @param[in]  v         f32 or f16 [n_pos][n], or the q8_0 V cache of layout.h with n_ctx, whose
///                       scales are not negative
/// @param      n         channels, a multiple of 32
/// @param[out] work      q8_bytes(n_pos rounded up to 32) bytes; the q8_0 form alone uses it
///
/// Bits, f32 and f16: acc = fma(p, v, acc) for t ascending, from 0.
/// Bits, q8_0: for each block of 32 channels, w[t] = p[t] * dv[t] is quantised in blocks of 32
/// positions; then acc = fma((float)s, dw, acc) over blocks ascending with s the exact sum of
/// wq[t] * vq[t][d]. Positions past n_pos count as w = 0.
typedef void kllm_attn_mix_fn(float *out, const float *p, const void *v, uint32_t n_pos,
                              uint32_t n, uint32_t n_head, uint32_t p_stride, uint32_t n_ctx,
                              void *work);

/// Reads row `row` of a packed matrix of cols columns as floats: y f32[cols].
typedef void kllm_dequantize_fn(float *y, const void *w, uint32_t row, uint32_t cols);

/// Returns the inner product of a[n] and b[n]: lane j of 16 takes elements i = j mod 16 in
/// ascending order by fused multiply-add; lanes are added pairwise j with j+8, +4, +2, +1.
typedef float kllm_dot_fn(const float *a, const float *b, uint32_t n);

/// y = x * sigmoid(2u), u = sqrt(2/pi) * (x + 0.044715 x^3): GELU in its tanh form. y may be x.
typedef void kllm_gelu_fn(float *y, const float *x, uint32_t n);

/// y = (x - mean) / sqrt(variance + eps) * w + b over x[n]. y may not overlap x.
typedef void kllm_layernorm_fn(float *y, const float *x, const float *w, const float *b,
                               uint32_t n, float eps);

/// Multiplies a matrix of rows x cols by n_token vectors: y[t][r] = sum over c of w[r][c] x[t][c].
///
/// @param[out] y         f32, element (t, r) at y[t * y_stride + r]
/// @param[in]  w         packed rows; the first row stands at the start of a group
/// @param[in]  x         f32[n_token][cols], or "q8" rows (layout.h) for quantised weights
/// @param      rows      1 or more; nothing past row rows - 1 is written
/// @param      cols      a multiple of 32 for quantised weights
///
/// Bits, f32 and f16 weights: each element is kllm_dot_fn's.
/// Bits, q8_0 and q4_0: acc = fma((float)s, dw * dx, acc) over blocks ascending, s exact.
/// Bits, q4_1: as above, then acc = fma((float)sum of x's q, m * dx, acc) for the same block.
typedef void kllm_matmul_fn(float *y, const void *w, const void *x, uint32_t rows, uint32_t cols,
                            uint32_t n_token, uint32_t y_stride);

// An element of a matrix input that is kept out of quantisation.
struct outlier {
    float x;
    uint32_t col;
};

/// Adds to a product what the outliers of its inputs contribute.
///
///     y[t][r] = fma(w[r][col], x, y[t][r]) for the outliers of token t in order
///
/// w is the element as kllm_dequantize_fn reads it.
/// @param[in,out] y     f32, element (t, r) at y[t * y_stride + r]
/// @param[in]     w     packed rows; the first row stands at the start of a group
/// @param[in]     x     struct outlier[n_token][KLLM_N_OUTLIER]
typedef void kllm_patch_fn(float *y, const void *w, const struct outlier *x, uint32_t rows,
                           uint32_t cols, uint32_t n_token, uint32_t y_stride);

/// Takes the KLLM_N_OUTLIER largest magnitudes out of x[n], n >= 1: writes them to out, largest
/// first, of equals the lowest index first, and leaves 0 in their places. NaN is never taken.
typedef void kllm_pick_fn(struct outlier *out, float *x, uint32_t n);

/// Quantises x[n], n a multiple of 32, to f16[n] or to one "q8" row (layout.h).
///
/// f16: each element rounded to the nearest, ties to even; of a NaN the upper bits, quiet.
/// q8: d = amax / 127, q = round-to-even(x * (127 / amax)); blocks with amax below 2^-120 become 0.
typedef void kllm_quantize_fn(void *row, const float *x, uint32_t n);

/// y = x * r * w, r = 1 / sqrt(dot(x, x) / n + eps). y may be x.
typedef void kllm_rmsnorm_fn(float *y, const float *x, const float *w, uint32_t n, float eps);

/// Rotates the first n_rot elements of each of n_head heads of head_dim in place.
///
/// @param[in] cs       f32[n_rot / 2][2]: cos and sin of each pair at this position
/// @param     pairing  KLLM_ROPE_ADJACENT or KLLM_ROPE_HALF
/// Bits: x' = fma(x, cos, -(y * sin)), y' = fma(x, sin, y * cos).
typedef void kllm_rope_fn(float *x, const float *cs, uint32_t n_head, uint32_t head_dim,
                          uint32_t n_rot, uint32_t pairing);

/// x = exp(s - max s) * (1 / sum), s = x * scale, in place over x[n]; sum by lanes as in dot.
typedef void kllm_softmax_fn(float *x, uint32_t n, float scale);

/// Returns the sum of x[n], lanes and tree as in kllm_dot_fn with plain adds.
typedef float kllm_sum_fn(const float *x, uint32_t n);

/// y = gate / (1 + exp(-gate)) * up. y may be gate or up.
typedef void kllm_swiglu_fn(float *y, const float *gate, const float *up, uint32_t n);

// The operations of the manifest, named as there, for tables made from it.
enum kllm_op {
    OP_argmax,
    OP_attn_mix,
    OP_dequantize,
    OP_dot,
    OP_gelu,
    OP_layernorm,
    OP_matmul,
    OP_patch,
    OP_pick,
    OP_quantize,
    OP_rmsnorm,
    OP_rope,
    OP_softmax,
    OP_sum,
    OP_swiglu
};

// One entry per operation and types; filled by kllm_dispatch.
struct kllm_kernels {
    kllm_argmax_fn *argmax_f32;
    kllm_attn_mix_fn *attn_mix_f32_f16;
    kllm_attn_mix_fn *attn_mix_f32;
    kllm_attn_mix_fn *attn_mix_f32_q8_0;
    kllm_dequantize_fn *dequantize_f32_f16;
    kllm_dequantize_fn *dequantize_f32_q4_0;
    kllm_dequantize_fn *dequantize_f32_q4_1;
    kllm_dequantize_fn *dequantize_f32_q8_0;
    kllm_dot_fn *dot_f32;
    kllm_gelu_fn *gelu_f32;
    kllm_layernorm_fn *layernorm_f32;
    kllm_matmul_fn *matmul_f32;
    kllm_matmul_fn *matmul_f32_f16;
    kllm_matmul_fn *matmul_f32_q4_0_q8;
    kllm_matmul_fn *matmul_f32_q4_1_q8;
    kllm_matmul_fn *matmul_f32_q8_0_q8;
    kllm_patch_fn *patch_f32_q4_0;
    kllm_patch_fn *patch_f32_q4_1;
    kllm_patch_fn *patch_f32_q8_0;
    kllm_pick_fn *pick_f32;
    kllm_quantize_fn *quantize_f16_f32;
    kllm_quantize_fn *quantize_q8_f32;
    kllm_rmsnorm_fn *rmsnorm_f32;
    kllm_rope_fn *rope_f32;
    kllm_softmax_fn *softmax_f32;
    kllm_sum_fn *sum_f32;
    kllm_swiglu_fn *swiglu_f32;
};

/// Fills the table with the best variants that the mask allows.
void kllm_dispatch(struct kllm_kernels *kernels, uint32_t cpu);

#define KLLM_KERNEL(op, types, isa, needs) kllm_##op##_fn kllm_##op##_##types##_##isa;
#include "kernels.def"
#undef KLLM_KERNEL

#endif
