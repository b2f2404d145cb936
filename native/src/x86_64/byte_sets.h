// SPDX-License-Identifier: Apache-2.0
// Sets of the bytes of a block, a bit for each: AVX2, which every x86-64 build may use.
#ifndef KLLM_BYTE_SETS_H
#define KLLM_BYTE_SETS_H

#include <immintrin.h>

#include "../base.h"

struct bytes_64 {
    __m256i low, high;
};

KLLM_INLINE struct bytes_64 load_64(const uint8_t *bytes) {
    return (struct bytes_64){_mm256_loadu_si256((const __m256i *)(const void *)bytes),
                             _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32))};
}

// The bytes whose highest bit is set.
KLLM_INLINE uint64_t high_set(struct bytes_64 b) {
    return (uint32_t)_mm256_movemask_epi8(b.low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b.high)
                                                       << 32;
}

// The bytes that are one of first .. last.
KLLM_INLINE uint64_t range_set(struct bytes_64 b, uint8_t first, uint8_t last) {
    __m256i start = _mm256_set1_epi8((char)first);
    __m256i most = _mm256_set1_epi8((char)(last - first));
    b.low = _mm256_sub_epi8(b.low, start);
    b.high = _mm256_sub_epi8(b.high, start);
    b.low = _mm256_cmpeq_epi8(_mm256_min_epu8(b.low, most), b.low);
    b.high = _mm256_cmpeq_epi8(_mm256_min_epu8(b.high, most), b.high);
    return high_set(b);
}

KLLM_INLINE uint64_t byte_set(struct bytes_64 b, uint8_t byte) {
    __m256i all = _mm256_set1_epi8((char)byte);
    b.low = _mm256_cmpeq_epi8(b.low, all);
    b.high = _mm256_cmpeq_epi8(b.high, all);
    return high_set(b);
}

// The bytes with a bit set in each.
KLLM_INLINE struct bytes_64 with_bits(struct bytes_64 b, uint8_t bits) {
    __m256i all = _mm256_set1_epi8((char)bits);
    return (struct bytes_64){_mm256_or_si256(b.low, all), _mm256_or_si256(b.high, all)};
}

#endif
