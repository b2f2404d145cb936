// SPDX-License-Identifier: Apache-2.0
// The families of checks of the selftest image; each prints its failures and returns their number.
#ifndef KLLM_SELFTEST_H
#define KLLM_SELFTEST_H

#include <stdint.h>

/// Compares every kernel variant with its _c twin, bit for bit, on small shapes.
uint32_t selftest_kernels(void);

/// Checks the arena and the checksum against known values.
uint32_t selftest_arena(void);

/// Checks that a built image is accepted and that every damaged byte of its structure is refused.
uint32_t selftest_image(void);

#endif
