// SPDX-License-Identifier: Apache-2.0
// The parts in which one token takes a matrix: aarch64.
#ifndef KLLM_PARTS_H
#define KLLM_PARTS_H

// The outliers of a part find its weights in the first cache, or in the second that cores share. Where
// they have to be fetched anew an in-order core waits for each of the ten or so lines that they touch in a
// group of rows: with a quarter of 512 KiB for each of four threads, 6 % more lines come from memory.
enum { PART_BYTES_ONE = 32 * 1024, PART_GROUPS = 1 };

#endif
