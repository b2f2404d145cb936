// SPDX-License-Identifier: Apache-2.0
// exp_f32 of the canonical arithmetic against the double exp of libc, whose error is far smaller.
//
//     check_exp [STEP]    every STEP-th float of the range; 1 is all of them, 251 by default
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../native/src/libm.h"

static double worst;
static float worst_x;

static void check_between(uint32_t first, uint32_t last, uint32_t step) {
    for (uint64_t bits = first; bits <= last; bits += step) {
        float x = f32_of_bits((uint32_t)bits);
        double exact = exp((double)x);
        double ulp = ldexp(1.0, ilogb(exact) - 23);
        double error = fabs((double)exp_f32(x) - exact) / ulp;
        if (error > worst) {
            worst = error;
            worst_x = x;
        }
    }
}

int main(int argc, char **argv) {
    uint32_t step = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 251;
    check_between(bits_of_f32(0.0f), bits_of_f32(KLLM_EXP_MAX), step);
    check_between(bits_of_f32(-0.0f), bits_of_f32(KLLM_EXP_MIN), step);
    int clamped = exp_f32(-1e30f) == exp_f32(KLLM_EXP_MIN) &&
                  exp_f32(__builtin_nanf("")) == exp_f32(KLLM_EXP_MIN) &&
                  exp_f32(1e30f) == exp_f32(KLLM_EXP_MAX) && exp_f32(0.0f) == 1.0f;
    printf("exp_f32: largest error %.4f ulp, at %a; step %u\n", worst, (double)worst_x, step);
    return worst >= 1.0 || !clamped;
}
