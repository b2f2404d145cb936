// SPDX-License-Identifier: Apache-2.0
// IEEE-754 binary16 to and from binary32, in integer arithmetic.
#ifndef KLLM_F16_H
#define KLLM_F16_H

#include "base.h"

/// Converts binary16 to binary32, exactly.
KLLM_INLINE float f32_of_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u;
    uint32_t fraction = half & 1023u;
    if (exponent == 0) { // zero or subnormal: fraction * 2^-24 is exact
        return f32_of_bits(sign | bits_of_f32((float)fraction * 0x1p-24f));
    }
    if (exponent == 31) {
        return f32_of_bits(sign | 0x7f800000u | fraction << 13);
    }
    return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/// Converts binary32 to binary16, round to nearest even; overflow gives infinity. A NaN keeps its
/// upper bits and becomes quiet, as VCVTPS2PH and FCVTN have it.
KLLM_INLINE uint16_t f16_of_f32(float x) {
    uint32_t bits = bits_of_f32(x);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | (bits >> 13 & 0x1ffu));
    }
    if (bits >= 0x477ff000u) { // 65520 and above round to infinity
        return (uint16_t)(sign | 0x7c00u);
    }
    if (bits < 0x38800000u) {
        // Below 2^-14 the result is subnormal. Adding 0.5 puts the binary16 fraction into the
        // low bits of the sum, rounded to nearest even by the addition itself.
        return (uint16_t)(sign | (bits_of_f32(f32_of_bits(bits) + 0.5f) - 0x3f000000u));
    }
    uint32_t odd = bits >> 13 & 1u;
    return (uint16_t)(sign | (bits + 0xfffu + odd - 0x38000000u) >> 13);
}

#endif
