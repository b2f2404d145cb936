// SPDX-License-Identifier: Apache-2.0
// Exact instruction counts from the performance monitors of QEMU under -icount shift=0.
#ifndef KLLM_PMU_H
#define KLLM_PMU_H

#include <stdint.h>

#define PMU_READ(reg, value) __asm__ volatile("isb\n\tmrs %0, " #reg : "=r"(value)::"memory")
#define PMU_WRITE(reg, value) __asm__ volatile("msr " #reg ", %0\n\tisb" ::"r"(value) : "memory")

enum pmu_event { PMU_INST_RETIRED = 8 };

/// Starts the counters. Returns 0 if counts are not exact here: PMCEID0 bit 8 (INST_RETIRED) is
/// set by QEMU only where it counts every instruction.
static inline int pmu_start(void) {
    uint64_t events;
    PMU_READ(PMCEID0_EL0, events);
    if ((events >> PMU_INST_RETIRED & 1) == 0) {
        return 0;
    }
    PMU_WRITE(PMCCFILTR_EL0, (uint64_t)0);
    PMU_WRITE(PMEVTYPER0_EL0, (uint64_t)PMU_INST_RETIRED);
    PMU_WRITE(PMCNTENSET_EL0, (uint64_t)(1u << 31 | 1u));
    PMU_WRITE(PMCR_EL0, (uint64_t)(1u | 1u << 6)); // enable; 64-bit cycle counter
    return 1;
}

// Both counters at one place: the cycle counter has 64 bits, the event counter 32.
struct pmu_count {
    uint64_t cycles;
    uint64_t instructions;
};

static inline struct pmu_count pmu_read(void) {
    struct pmu_count count;
    PMU_READ(PMCCNTR_EL0, count.cycles);
    PMU_READ(PMEVCNTR0_EL0, count.instructions);
    return count;
}

/// Instructions from a to b, without the reading itself. With shift=0 an instruction is one
/// cycle, so the low halves must agree; returns 0 where they do not.
static inline uint64_t pmu_between(struct pmu_count a, struct pmu_count b) {
    uint64_t cycles = b.cycles - a.cycles;
    uint32_t instructions = (uint32_t)(b.instructions - a.instructions);
    return (uint32_t)cycles == instructions ? cycles : 0;
}

#endif
