// SPDX-License-Identifier: Apache-2.0
// Cases of kernels that read a matrix: weights, or the values of attention.
#ifndef CASES_MATRIX_H
#define CASES_MATRIX_H

#include "variant.h"

static uint64_t group_bytes(const struct variant *v, uint32_t cols) {
    return has(v, "q4_0")   ? group_bytes_q4_0(cols)
           : has(v, "q4_1") ? group_bytes_q4_1(cols)
                            : group_bytes_q8_0(cols);
}

// Fills IN_A with a matrix; rows past the last in a group hold noise, which must not matter.
static const void *random_weights(const struct variant *v, uint32_t rows, uint32_t cols) {
    uint64_t n = (uint64_t)rows * cols;
    if (has(v, "f16")) {
        uint16_t *w = place_in(IN_A, n * 2, 2);
        fill_f16(w, n);
        return w;
    }
    if (!has(v, "q")) {
        float *w = place_in(IN_A, n * 4, 4);
        fill_f32(w, n);
        return w;
    }
    uint64_t group = group_bytes(v, cols);
    uint64_t quants = (uint64_t)(cols / KLLM_QK) * (has(v, "q4") ? KLLM_Q4_BLOCK : KLLM_Q8_BLOCK);
    uint64_t n_group = (rows + KLLM_GROUP - 1) / KLLM_GROUP;
    uint8_t *w = place_in(IN_A, n_group * group, KLLM_ALIGN);
    for (uint64_t g = 0; g < n_group; g++) {
        fill_bytes(w + g * group, quants);
        fill_f16((uint16_t *)(void *)(w + g * group + quants), (group - quants) / 2);
    }
    return w;
}

static void run_matmul(const struct variant *v, uint32_t round) {
    int quantised = has(v, "q");
    uint32_t n_token = round % 3 == 0 ? 1 : round % 3 == 1 ? between(2, 9) : between(1, 40);
    uint32_t rows = round % 4 == 0 ? between(1, 16) : between(1, 100);
    uint32_t cols = quantised        ? 32 * between(1, 20)
                    : round % 8 == 0 ? any_length(round / 8)
                                     : between(1, 600);
    uint32_t y_stride = rows + (below(2) ? 0 : below(40));
    uint64_t row_bytes = quantised ? q8_bytes(cols) : (uint64_t)cols * 4;
    const void *w = random_weights(v, rows, cols);
    uint8_t *x = place_in(IN_B, row_bytes * n_token, 4);
    if (quantised) {
        for (uint32_t t = 0; t < n_token; t++) {
            fill_q8_row(x + t * row_bytes, cols);
        }
    } else {
        fill_f32((float *)(void *)x, (uint64_t)cols * n_token);
    }
    place_out(((uint64_t)(n_token - 1) * y_stride + rows) * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){rows, cols, n_token, y_stride}, sizeof dims);
    seal_inputs();
    ((kllm_matmul_fn *)v->twin)((float *)(void *)slots[OUT_EXPECTED].data, w, x, rows, cols,
                                n_token, y_stride);
    ((kllm_matmul_fn *)v->fn)((float *)(void *)slots[OUT_ACTUAL].data, w, x, rows, cols, n_token,
                              y_stride);
}

static void run_attn_mix(const struct variant *v, uint32_t round) {
    uint32_t n = 32 * between(1, 8);
    uint32_t n_pos = round < 70 ? round + 1 : between(1, 300);
    uint32_t n_head = between(1, 9);
    uint32_t n_ctx = n_pos + below(40);
    uint32_t p_stride = n_ctx;
    uint64_t n_p = (uint64_t)(n_head - 1) * p_stride + n_pos;
    float *p = place_in(IN_B, n_p * 4, 4);
    fill_f32(p, n_p);
    for (uint64_t i = 0; i < n_p; i++) {
        p[i] = __builtin_fabsf(p[i]);
    }
    uint64_t n_v = (uint64_t)n_pos * n;
    void *values;
    if (has(v, "f16")) {
        values = place_in(IN_A, n_v * 2, 2);
        fill_f16(values, n_v);
    } else if (has(v, "q8_0")) {
        uint64_t quants = v_q8_scale_off(n_ctx, n);
        values = place_in(IN_A, quants + (uint64_t)n_ctx * (n / KLLM_QK) * 2, 64);
        fill_bytes(values, quants);
        uint16_t *scales = (uint16_t *)(void *)((uint8_t *)values + quants);
        fill_f16(scales, (uint64_t)n_ctx * (n / KLLM_QK));
        for (uint64_t i = 0; i < (uint64_t)n_ctx * (n / KLLM_QK); i++) {
            scales[i] &= 0x7fff;
        }
    } else {
        values = place_in(IN_A, n_v * 4, 4);
        fill_f32(values, n_v);
    }
    uint64_t work_bytes = q8_bytes((uint32_t)align_up(n_pos, KLLM_QK));
    void *work[2] = {place(WORK_EXPECTED, work_bytes, 64, 0),
                     place(WORK_ACTUAL, work_bytes, 64, 0)};
    place_out((uint64_t)n_head * n * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){n_pos, n, n_head, p_stride, n_ctx}, sizeof dims);
    seal_inputs();
    ((kllm_attn_mix_fn *)v->twin)((float *)(void *)slots[OUT_EXPECTED].data, p, values, n_pos, n,
                                  n_head, p_stride, n_ctx, work[0]);
    ((kllm_attn_mix_fn *)v->fn)((float *)(void *)slots[OUT_ACTUAL].data, p, values, n_pos, n,
                                n_head, p_stride, n_ctx, work[1]);
}

static void run_dequantize(const struct variant *v, uint32_t round) {
    uint32_t rows = between(1, 50);
    uint32_t row = below(rows);
    uint32_t cols = has(v, "q") ? 32 * between(1, 20) : any_length(round);
    const void *w = random_weights(v, rows, cols);
    place_out((uint64_t)cols * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){row, cols, rows}, sizeof dims);
    seal_inputs();
    ((kllm_dequantize_fn *)v->twin)((float *)(void *)slots[OUT_EXPECTED].data, w, row, cols);
    ((kllm_dequantize_fn *)v->fn)((float *)(void *)slots[OUT_ACTUAL].data, w, row, cols);
}

static void run_patch(const struct variant *v, uint32_t round) {
    uint32_t rows = round % 4 == 0 ? between(1, 16) : between(1, 100);
    uint32_t cols = 32 * (round % 8 == 1 ? between(30, 60) : between(1, 20));
    uint32_t n_token = round % 8 <= 2 ? between(1, 200) : between(1, 9);
    uint32_t n_col = below(2) ? cols : between(1, min_u32(cols, 60)); // that outliers share
    uint32_t y_stride = rows + (below(2) ? 0 : below(40));
    uint64_t n_y = (uint64_t)(n_token - 1) * y_stride + rows;
    const void *w = random_weights(v, rows, cols);
    struct outlier *x = place_in(IN_B, sizeof *x * n_token * KLLM_N_OUTLIER, 4);
    enum fill fill = any_fill();
    for (uint32_t i = 0; i < n_token * KLLM_N_OUTLIER; i++) {
        x[i] = (struct outlier){random_f32(fill), cols / n_col * below(n_col)};
    }
    float *y = place_in(IN_C, n_y * 4, 4);
    fill_f32(y, n_y);
    place_out(n_y * 4, 4);
    memcpy(dims, (uint32_t[N_DIM]){rows, cols, n_token, y_stride}, sizeof dims);
    seal_inputs();
    void (*fns[2])(void) = {v->twin, v->fn};
    for (uint32_t i = 0; i < 2; i++) {
        float *out = memcpy(slots[OUT_EXPECTED + i].data, y, n_y * 4);
        ((kllm_patch_fn *)fns[i])(out, w, x, rows, cols, n_token, y_stride);
    }
}

#endif
