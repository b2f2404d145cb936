// SPDX-License-Identifier: Apache-2.0
// What the proofs share. A variable that is not set has every value at once.
#ifndef KLLM_PROOF_H
#define KLLM_PROOF_H

#include <stdint.h>

typedef unsigned __int128 wide; // in which nothing here can wrap

uint32_t nondet_u32(void); // cbmc: a function of this prefix without a body returns any value
uint64_t nondet_u64(void);
#define any_u32 nondet_u32
#define any_u64 nondet_u64

#define assume(cond) __CPROVER_assume(cond)
#define prove(cond, text) __CPROVER_assert((cond), text)

#endif
