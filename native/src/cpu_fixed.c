// SPDX-License-Identifier: Apache-2.0
// CPU features of a bare-metal build: those it was compiled for.
#include "base.h"

uint32_t kllm_cpu(void) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return KLLM_CPU_NEON | KLLM_CPU_DOTPROD | KLLM_CPU_I8MM;
#elif defined(__ARM_FEATURE_DOTPROD)
    return KLLM_CPU_NEON | KLLM_CPU_DOTPROD;
#else
    return KLLM_CPU_NEON;
#endif
}
