// SPDX-License-Identifier: Apache-2.0
// CPU features of AArch64 under Linux, from the auxiliary vector's HWCAP words.
#include <sys/auxv.h>

#include "base.h"

enum hwcap { HWCAP_ASIMD_BIT = 1 << 1, HWCAP_ASIMDDP_BIT = 1 << 20, HWCAP2_I8MM_BIT = 1 << 13 };

uint32_t kllm_cpu(void) {
    unsigned long hwcap = getauxval(AT_HWCAP);
    uint32_t cpu = 0;
    if ((hwcap & HWCAP_ASIMD_BIT) != 0) {
        cpu |= KLLM_CPU_NEON;
    }
    if ((hwcap & HWCAP_ASIMDDP_BIT) != 0) {
        cpu |= KLLM_CPU_DOTPROD;
    }
    if ((getauxval(AT_HWCAP2) & HWCAP2_I8MM_BIT) != 0) {
        cpu |= KLLM_CPU_I8MM;
    }
    return cpu;
}
