// SPDX-License-Identifier: Apache-2.0
// The parts in which one token takes a matrix: x86-64.
#ifndef KLLM_PARTS_H
#define KLLM_PARTS_H

// Long runs are read fastest; the outliers of a part find its weights in the second cache. Parts are
// whole tiles of up to 4 groups: one that ended within a tile would repeat work.
enum { PART_BYTES_ONE = 512 * 1024, PART_GROUPS = 4 };

#endif
