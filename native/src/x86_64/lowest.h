// SPDX-License-Identifier: Apache-2.0
// The lowest of eight numbers, in general registers.
#ifndef KLLM_LOWEST_H
#define KLLM_LOWEST_H

#include "../base.h"

// They are read one by one: all at once they would wait for the one that was just written.
KLLM_INLINE uint32_t lowest_of(const volatile uint32_t *numbers) {
    uint32_t lowest[8];
    KLLM_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        lowest[i] = numbers[i];
    }
    KLLM_UNROLL
    for (uint32_t n = 4; n > 0; n /= 2) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < n; i++) {
            lowest[i] = min_u32(lowest[i], lowest[i + n]);
        }
    }
    return lowest[0];
}

#endif
