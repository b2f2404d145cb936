// SPDX-License-Identifier: Apache-2.0
// The lowest of eight numbers: NEON.
#ifndef KLLM_LOWEST_H
#define KLLM_LOWEST_H

#include <arm_neon.h>

#include "../base.h"

KLLM_INLINE uint32_t lowest_of(const uint32_t *numbers) {
    return vminvq_u32(vminq_u32(vld1q_u32(numbers), vld1q_u32(numbers + 4)));
}

#endif
