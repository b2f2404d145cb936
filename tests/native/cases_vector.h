// SPDX-License-Identifier: Apache-2.0
// Cases of kernels that read vectors alone.
#ifndef CASES_VECTOR_H
#define CASES_VECTOR_H

#include "variant.h"

// The outliers and what is left of the vector, one behind the other.
static void run_pick(const struct variant *v, uint32_t round) {
    uint32_t n = round % 8 == 7 ? between(3900, 4200) : any_length(round);
    uint64_t head = sizeof(struct outlier) * KLLM_N_OUTLIER;
    float *x = place_in(IN_A, (uint64_t)n * 4, 4);
    fill_f32(x, n);
    for (uint32_t i = 0; i < n && below(3) == 0; i += 5) {
        x[i] = below(2) ? __builtin_nanf("") : __builtin_inff();
    }
    place_out(head + (uint64_t)n * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){n}, sizeof dims);
    seal_inputs();
    void (*fns[2])(void) = {v->twin, v->fn};
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *out = slots[OUT_EXPECTED + i].data;
        memcpy(out + head, x, (uint64_t)n * 4);
        ((kllm_pick_fn *)fns[i])((struct outlier *)(void *)out, (float *)(void *)(out + head), n);
    }
}

static void run_quantize(const struct variant *v, uint32_t round) {
    uint32_t n = 32 * (round % 20 + 1);
    float *x = place_in(IN_A, (uint64_t)n * 4, 4);
    fill_f32(x, n);
    for (uint32_t b = 0; b < n && below(2); b += KLLM_QK) { // ties of the rounding
        x[b] = 127.0f;
        for (uint32_t i = 1; i < KLLM_QK; i++) {
            x[b + i] = (float)below(254) - 126.5f;
        }
    }
    int half = strstr(v->name, "quantize_f16") != NULL;
    for (uint32_t i = 0; half && i < n; i++) { // any bits at all, and ties
        uint32_t bits = below(2) ? below(1u << 31) << 1 | below(2) : below(1u << 20) << 12;
        memcpy(x + i, &bits, sizeof bits);
    }
    place_out(half ? 2 * n : n + n / 4, half ? 2 : 4);
    memcpy(dims, (uint32_t[N_DIM]){n}, sizeof dims);
    seal_inputs();
    ((kllm_quantize_fn *)v->twin)(slots[OUT_EXPECTED].data, x, n);
    ((kllm_quantize_fn *)v->fn)(slots[OUT_ACTUAL].data, x, n);
}

// argmax, dot, sum: reductions to one word.
static void run_reduction(const struct variant *v, uint32_t round) {
    uint32_t n = any_length(round);
    float *a = place_in(IN_A, (uint64_t)n * 4, 4);
    float *b = place_in(IN_B, (uint64_t)n * 4, 4);
    fill_f32(a, n);
    fill_f32(b, n);
    if (v->op == OP_argmax && below(4) == 0) {
        for (uint32_t i = 0; i < n; i++) {
            a[i] = below(2) ? __builtin_nanf("") : below(3) ? a[i] : -__builtin_inff();
        }
    }
    place_out(4, 4);
    memcpy(dims, (uint32_t[N_DIM]){n}, sizeof dims);
    seal_inputs();
    void (*fns[2])(void) = {v->twin, v->fn};
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *out = slots[OUT_EXPECTED + i].data;
        if (v->op == OP_argmax) {
            uint32_t idx = ((kllm_argmax_fn *)fns[i])(a, n);
            memcpy(out, &idx, 4);
        } else {
            float y =
                v->op == OP_dot ? ((kllm_dot_fn *)fns[i])(a, b, n) : ((kllm_sum_fn *)fns[i])(a, n);
            memcpy(out, &y, 4);
        }
    }
}

// gelu, layernorm, rmsnorm, softmax, swiglu: from up to three vectors to one.
static void run_elementwise(const struct variant *v, uint32_t round) {
    uint32_t n = any_length(round);
    float *in[3];
    for (uint32_t i = 0; i < 3; i++) {
        in[i] = place_in(IN_A + i, (uint64_t)n * 4, 4);
        fill_f32(in[i], n);
    }
    eps = below(2) ? 1e-5f : below(2) ? 0.125f : 1.0f; // also the scale of softmax
    int in_place = v->op == OP_softmax || (v->op != OP_layernorm && below(2));
    place_out((uint64_t)n * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){n, (uint32_t)in_place}, sizeof dims);
    seal_inputs();
    void (*fns[2])(void) = {v->twin, v->fn};
    for (uint32_t i = 0; i < 2; i++) {
        float *y = (float *)(void *)slots[OUT_EXPECTED + i].data;
        const float *x = in[0];
        if (in_place) {
            x = memcpy(y, x, (uint64_t)n * 4);
        }
        if (v->op == OP_gelu) {
            ((kllm_gelu_fn *)fns[i])(y, x, n);
        } else if (v->op == OP_layernorm) {
            ((kllm_layernorm_fn *)fns[i])(y, x, in[1], in[2], n, eps);
        } else if (v->op == OP_rmsnorm) {
            ((kllm_rmsnorm_fn *)fns[i])(y, x, in[1], n, eps);
        } else if (v->op == OP_softmax) {
            ((kllm_softmax_fn *)fns[i])(y, n, eps);
        } else {
            ((kllm_swiglu_fn *)fns[i])(y, x, in[1], n);
        }
    }
}

static void run_rope(const struct variant *v, uint32_t round) {
    uint32_t n_head = between(1, 5);
    uint32_t n_rot = 2 * (round < 70 ? round + 1 : between(1, 128));
    uint32_t head_dim = (uint32_t)align_up(n_rot, KLLM_QK) + KLLM_QK * below(2);
    uint32_t pairing = below(2) ? KLLM_ROPE_ADJACENT : KLLM_ROPE_HALF;
    uint64_t n = (uint64_t)n_head * head_dim;
    float *x = place_in(IN_A, n * 4, 4);
    float *cs = place_in(IN_B, (uint64_t)n_rot * 4, 4);
    fill_f32(x, n);
    fill_f32(cs, n_rot);
    place_out(n * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){n_head, head_dim, n_rot, pairing}, sizeof dims);
    seal_inputs();
    void (*fns[2])(void) = {v->twin, v->fn};
    for (uint32_t i = 0; i < 2; i++) {
        float *y = memcpy(slots[OUT_EXPECTED + i].data, x, n * 4);
        ((kllm_rope_fn *)fns[i])(y, cs, n_head, head_dim, n_rot, pairing);
    }
}

#endif
