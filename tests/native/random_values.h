// SPDX-License-Identifier: Apache-2.0
// Random numbers, and what the buffers of check_kernels.c are filled with: the ordinary and the rare.
#ifndef RANDOM_VALUES_H
#define RANDOM_VALUES_H

#include <string.h>

#include "../../native/src/f16.h"
#include "../../native/src/layout.h"

static uint64_t seed;

static uint32_t random_u32(void) { // PCG, XSH-RR
    uint64_t old = seed;
    seed = old * 6364136223846793005u + 1442695040888963407u;
    uint32_t word = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return word >> turn | word << (-turn & 31);
}

static uint32_t below(uint32_t n) {
    return (uint32_t)((uint64_t)random_u32() * n >> 32);
}

static uint32_t between(uint32_t low, uint32_t high) {
    return low + below(high - low + 1);
}

static float uniform(void) { // [-1, 1)
    return (float)(int32_t)random_u32() * 0x1p-31f;
}

// What a buffer of floats is filled with.
enum fill { ORDINARY, ZEROS, SUBNORMAL, HUGE_VALUES, ANY_EXPONENT, EQUAL, SPARSE, N_FILL };

static float random_f32(enum fill fill) {
    switch (fill) {
    case ZEROS:
        return below(2) ? 0.0f : -0.0f;
    case SUBNORMAL:
        return f32_of_bits(random_u32() & 0x807fffffu);
    case HUGE_VALUES:
        return uniform() * 0x1p127f;
    case ANY_EXPONENT: {
        uint32_t bits = random_u32();
        return f32_of_bits((bits & 0x7f800000u) == 0x7f800000u ? bits & 0x80ffffffu : bits);
    }
    case EQUAL:
        return 0.75f;
    case SPARSE:
        return below(8) ? 0.0f : uniform();
    default:
        return uniform() * 4.0f;
    }
}

static enum fill any_fill(void) {
    return below(2) ? ORDINARY : (enum fill)below(N_FILL);
}

static void fill_f32(float *x, uint64_t n) {
    enum fill fill = any_fill();
    for (uint64_t i = 0; i < n; i++) {
        x[i] = random_f32(fill);
    }
}

static uint16_t random_f16(enum fill fill) {
    switch (fill) {
    case ZEROS:
        return below(2) ? 0 : 0x8000;
    case SUBNORMAL:
        return (uint16_t)(random_u32() & 0x83ff);
    case HUGE_VALUES:
        return (uint16_t)(0x7bff | (random_u32() & 0x8000)); // +-65504
    case ANY_EXPONENT: {
        uint16_t bits = (uint16_t)random_u32();
        return (bits & 0x7c00) == 0x7c00 ? bits & 0x83ff : bits;
    }
    default:
        return f16_of_f32(random_f32(fill));
    }
}

static void fill_f16(uint16_t *x, uint64_t n) {
    enum fill fill = any_fill();
    for (uint64_t i = 0; i < n; i++) {
        x[i] = random_f16(fill);
    }
}

static void fill_bytes(uint8_t *x, uint64_t n) {
    static const uint8_t edges[] = {0x00, 0xff, 0x80, 0x7f, 0x88};
    uint32_t kind = below(12);
    for (uint64_t i = 0; i < n; i++) {
        x[i] = kind < 5 ? edges[kind] : (uint8_t)random_u32();
    }
}

static void fill_q8_row(uint8_t *row, uint32_t n) {
    uint32_t kind = below(6);
    enum fill fill = any_fill();
    for (uint32_t b = 0; b < n / KLLM_QK; b++) {
        int32_t sum = 0;
        float d = __builtin_fabsf(random_f32(fill));
        for (uint32_t i = b * KLLM_QK; i < (b + 1) * KLLM_QK; i++) {
            int32_t q = kind == 0 ? 127 : kind == 1 ? -127 : (int32_t)below(255) - 127;
            row[i] = (uint8_t)q;
            sum += q;
        }
        memcpy(row + n + b * 4, &d, 4);
        memcpy(row + n + n / 8 + b * 4, &sum, 4);
    }
}

#endif
