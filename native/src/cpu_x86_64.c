// SPDX-License-Identifier: Apache-2.0
// CPU features of x86-64, from CPUID and the register state the system saves.
#include <cpuid.h>

#include "base.h"

enum xcr0 { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6 };

static uint32_t xcr0(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

uint32_t kllm_cpu(void) {
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0 || (c & bit_FMA) == 0 ||
        (c & bit_F16C) == 0 || (xcr0() & XCR0_YMM) != XCR0_YMM) {
        return 0;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_AVX2) == 0 ||
        (b & bit_BMI2) == 0) {
        return 0;
    }
    uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((b & avx512) == avx512 && (c & bit_AVX512VNNI) != 0 && (xcr0() & XCR0_ZMM) == XCR0_ZMM) {
        return KLLM_CPU_AVX2 | KLLM_CPU_AVX512VNNI;
    }
    return KLLM_CPU_AVX2;
}
