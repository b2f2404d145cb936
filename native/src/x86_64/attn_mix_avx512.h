// SPDX-License-Identifier: Apache-2.0
// Weighted sums of f32 or f16 values: the body that both value types share.
#ifndef KLLM_ATTN_MIX_AVX512_H
#define KLLM_ATTN_MIX_AVX512_H

#include <immintrin.h>

#include "../kernels.h"

// 4 heads x 64 channels are 16 accumulators; a value is loaded once for 4 heads.
enum { TILE_HEADS = 4, TILE_VECTORS = 4 };

KLLM_INLINE __m512 load_16(const uint8_t *v, uint32_t value_bytes) {
    return value_bytes == 2 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)v))
                            : _mm512_loadu_ps(v);
}

// acc + *weight * values. Over f16 the multiply-add itself broadcasts the weight: a broadcast of its
// own, to which compilers turn for more than one use, takes a slot of the units that convert values.
// Over f32 loads are what is scarce.
KLLM_INLINE __m512 add_weighted(__m512 acc, const float *weight, __m512 values,
                                uint32_t value_bytes) {
    if (value_bytes == 4) {
        return _mm512_fmadd_ps(_mm512_set1_ps(*weight), values, acc);
    }
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(values), "m"(*weight));
    return acc;
}

// 16 n_vector channels of n_head heads. v: the first of the channels; row_bytes: of a position.
KLLM_INLINE void mix_tile(float *out, const float *p, const uint8_t *v, uint32_t n_pos, uint32_t n,
                          uint32_t p_stride, uint32_t n_head, uint32_t n_vector,
                          uint32_t value_bytes) {
    __m512 acc[TILE_HEADS][TILE_VECTORS];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < n_vector; i++) {
            acc[h][i] = _mm512_setzero_ps();
        }
    }
    for (uint32_t t = 0; t < n_pos; t++, v += (uint64_t)n * value_bytes) {
        __m512 values[TILE_VECTORS];
        KLLM_UNROLL
        for (uint32_t i = 0; i < n_vector; i++) {
            values[i] = load_16(v + i * 16 * value_bytes, value_bytes);
        }
        KLLM_UNROLL
        for (uint32_t h = 0; h < n_head; h++) {
            const float *weight = p + (uint64_t)h * p_stride + t;
            KLLM_UNROLL
            for (uint32_t i = 0; i < n_vector; i++) {
                acc[h][i] = add_weighted(acc[h][i], weight, values[i], value_bytes);
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < n_vector; i++) {
            _mm512_storeu_ps(out + (uint64_t)h * n + 16 * i, acc[h][i]);
        }
    }
}

// All channels of n_head heads: 64 at a time, then 32 if they are left.
KLLM_INLINE void mix_heads(float *out, const float *p, const uint8_t *v, uint32_t n_pos,
                           uint32_t n, uint32_t p_stride, uint32_t n_head, uint32_t value_bytes) {
    uint32_t d = 0;
    for (; d + 64 <= n; d += 64) {
        mix_tile(out + d, p, v + (uint64_t)d * value_bytes, n_pos, n, p_stride, n_head, 4,
                 value_bytes);
    }
    if (d < n) {
        mix_tile(out + d, p, v + (uint64_t)d * value_bytes, n_pos, n, p_stride, n_head, 2,
                 value_bytes);
    }
}

KLLM_INLINE void mix(float *out, const float *p, const uint8_t *v, uint32_t n_pos, uint32_t n,
                     uint32_t n_head, uint32_t p_stride, uint32_t value_bytes) {
    for (; n_head >= TILE_HEADS; n_head -= TILE_HEADS) {
        mix_heads(out, p, v, n_pos, n, p_stride, TILE_HEADS, value_bytes);
        out += (uint64_t)TILE_HEADS * n;
        p += (uint64_t)TILE_HEADS * p_stride;
    }
    if (n_head == 3) {
        mix_heads(out, p, v, n_pos, n, p_stride, 3, value_bytes);
    } else if (n_head == 2) {
        mix_heads(out, p, v, n_pos, n, p_stride, 2, value_bytes);
    } else if (n_head == 1) {
        mix_heads(out, p, v, n_pos, n, p_stride, 1, value_bytes);
    }
}

#endif
