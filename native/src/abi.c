// SPDX-License-Identifier: Apache-2.0
// The number that both sides of the language border compare; the build script defines it.
#include "base.h"

uint32_t kllm_abi_version(void) {
    return KLLM_ABI_VERSION;
}
