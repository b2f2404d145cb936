// SPDX-License-Identifier: Apache-2.0
// Weighted sums of f32 or f16 values: the body that both value types share.
#ifndef KLLM_ATTN_MIX_AVX2_H
#define KLLM_ATTN_MIX_AVX2_H

#include "avx2.h"

// 3 heads x 32 channels are 12 accumulators of 16 registers; a value is loaded once for 3 heads.
// Positions are taken in parts, whose values are then in the first cache for the next channels.
enum { TILE_HEADS = 3, TILE_VECTORS = 4, PART_POSITIONS = 64 };

// How far ahead values are asked for, in the second cache.
enum { AHEAD_BYTES = 4096 };

KLLM_INLINE __m256 load_8(const uint8_t *v, uint32_t value_bytes) {
    return value_bytes == 2 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)v))
                            : _mm256_loadu_ps((const float *)(const void *)v);
}

// Adds n_pos positions to 32 channels of n_head heads, or begins with them. v: the first of the
// channels; row_bytes: of a position; asks: for the lines of all channels.
KLLM_INLINE void mix_tile(float *out, const float *p, const uint8_t *v, uint32_t n_pos, uint32_t n,
                          uint64_t row_bytes, uint32_t p_stride, uint32_t n_head,
                          uint32_t value_bytes, int begins, int asks) {
    __m256 acc[TILE_HEADS][TILE_VECTORS];
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_VECTORS; i++) {
            acc[h][i] =
                begins ? _mm256_setzero_ps() : _mm256_loadu_ps(out + (uint64_t)h * n + 8 * i);
        }
    }
    for (uint32_t t = 0; t < n_pos; t++, v += row_bytes) {
        for (uint64_t line = 0; asks && line < row_bytes; line += 64) {
            _mm_prefetch((const char *)v + line + AHEAD_BYTES, _MM_HINT_T1);
        }
        __m256 weights[TILE_HEADS];
        KLLM_UNROLL
        for (uint32_t h = 0; h < n_head; h++) {
            weights[h] = _mm256_broadcast_ss(p + (uint64_t)h * p_stride + t);
        }
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_VECTORS; i++) {
            __m256 values = load_8(v + i * 8 * value_bytes, value_bytes);
            KLLM_UNROLL
            for (uint32_t h = 0; h < n_head; h++) {
                acc[h][i] = _mm256_fmadd_ps(weights[h], values, acc[h][i]);
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t h = 0; h < n_head; h++) {
        KLLM_UNROLL
        for (uint32_t i = 0; i < TILE_VECTORS; i++) {
            _mm256_storeu_ps(out + (uint64_t)h * n + 8 * i, acc[h][i]);
        }
    }
}

// The same for all channels.
KLLM_INLINE void mix_heads(float *out, const float *p, const uint8_t *v, uint32_t n_pos,
                           uint32_t n, uint32_t p_stride, uint32_t n_head, uint32_t value_bytes,
                           int begins) {
    uint64_t row_bytes = (uint64_t)n * value_bytes;
    mix_tile(out, p, v, n_pos, n, row_bytes, p_stride, n_head, value_bytes, begins, 1);
    for (uint32_t d = 8 * TILE_VECTORS; d < n; d += 8 * TILE_VECTORS) {
        mix_tile(out + d, p, v + (uint64_t)d * value_bytes, n_pos, n, row_bytes, p_stride, n_head,
                 value_bytes, begins, 0);
    }
}

KLLM_INLINE void mix(float *out, const float *p, const void *v, uint32_t n_pos, uint32_t n,
                     uint32_t n_head, uint32_t p_stride, uint32_t value_bytes) {
    for (uint32_t t = 0; t < n_pos; t += PART_POSITIONS) {
        const uint8_t *values = (const uint8_t *)v + (uint64_t)t * n * value_bytes;
        uint32_t n_part = min_u32(PART_POSITIONS, n_pos - t);
        uint32_t n_tile;
        for (uint32_t h = 0; h < n_head; h += n_tile) {
            const float *weights = p + (uint64_t)h * p_stride + t;
            float *y = out + (uint64_t)h * n;
            n_tile = n_head - h == 4 ? 2 : min_u32(n_head - h, TILE_HEADS);
            if (n_tile == 1) {
                mix_heads(y, weights, values, n_part, n, p_stride, 1, value_bytes, t == 0);
            } else if (n_tile == 2) {
                mix_heads(y, weights, values, n_part, n, p_stride, 2, value_bytes, t == 0);
            } else {
                mix_heads(y, weights, values, n_part, n, p_stride, 3, value_bytes, t == 0);
            }
        }
    }
}

#endif
