// SPDX-License-Identifier: Apache-2.0
// Quantised matrix times "q8" rows with VPDPBUSD: the body that the three weight types share.
//
// A 64-byte chunk holds 4 columns of 16 rows, so one VPDPBUSD by 4 activations, broadcast, adds
// their products to 16 rows' sums. Its first operand is unsigned: the type's bias is added to each
// weight, and bias * sum(activations) is taken off each block's sum. All of that is exact.
#ifndef KLLM_MATMUL_AVX512VNNI_H
#define KLLM_MATMUL_AVX512VNNI_H

#include <immintrin.h>

#include "../kernels.h"
#include "../layout.h"

// A token tile: 5 tokens x 2 groups are 10 sums and 10 results in registers, and the 10 chains of
// VPDPBUSD hide its latency. One token takes up to MAX_GROUPS of them.
enum { TILE_TOKENS = 5, TILE_GROUPS = 2, MAX_GROUPS = 3 };

// How far ahead at most a tile of several tokens asks for weights if it is the only one.
enum { AHEAD_BYTES = 32 * 1024 };

// What differs between the weight types; always a compile-time constant.
struct weight_type {
    uint32_t block_bytes; // quants of a block of a group
    uint32_t scale_bytes; // scales of a block of a group
    uint32_t shift;       // log2 of the bias; 0 for none
    uint32_t one_groups;  // groups that one token takes at a time
    uint32_t one_ahead;   // bytes from what one token reads to what is asked for meanwhile
};

// Unsigned weights of 4 columns, chunk i = 0..7 of a block: i < 4 low nibbles, then high ones.
KLLM_INLINE __m512i load_weights(const uint8_t *block, uint32_t i, struct weight_type type) {
    if (type.block_bytes == KLLM_Q8_BLOCK) {
        return _mm512_xor_si512(_mm512_loadu_si512(block + i * KLLM_CHUNK),
                                _mm512_set1_epi8(-128));
    }
    __m512i bytes = _mm512_loadu_si512(block + i % 4 * KLLM_CHUNK);
    return _mm512_and_si512(i < 4 ? bytes : _mm512_srli_epi16(bytes, 4), _mm512_set1_epi8(15));
}

KLLM_INLINE __m512 load_scales(const uint8_t *scales) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)scales));
}

// The 4 bytes at p, 16 times.
KLLM_INLINE __m512i broadcast(const uint8_t *p) {
    return _mm512_set1_epi32(*(const int32_t *)(const void *)p);
}

// The part of a matrix that one tile multiplies.
struct tile {
    float *y;         // of the first row and token
    const uint8_t *w; // first group
    const uint8_t *x; // first "q8" row
    uint64_t group_bytes;
    uint64_t row_bytes; // of a "q8" row
    uint32_t rows;      // from the first row on: what is written
    uint32_t cols;
    uint32_t y_stride;
    uint32_t n_line;  // lines that several tokens ask for with each block
    const char *next; // the first of them
};

// Exact sums of a block, unbiased: s[token][group]. q: the block's activations of the first token.
KLLM_INLINE void sum_block(__m512i s[][MAX_GROUPS], const uint8_t *const group[],
                           uint64_t quants_off, const uint8_t *q, const struct tile *p,
                           uint32_t n_token, uint32_t n_group, struct weight_type type) {
    KLLM_UNROLL
    for (uint32_t i = 0; i < n_token * n_group; i++) {
        s[i / n_group][i % n_group] = _mm512_setzero_si512();
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t chunk = i / 2 + i % 2 * 4; // both nibbles of a byte follow each other
        __m512i w[MAX_GROUPS];
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            w[g] = load_weights(group[g] + quants_off, chunk, type);
            if (n_token == 1 && i < type.block_bytes / KLLM_CHUNK) {
                _mm_prefetch((const char *)group[g] + quants_off + i * KLLM_CHUNK + type.one_ahead,
                             _MM_HINT_T1);
            }
        }
        KLLM_UNROLL
        for (uint32_t t = 0; t < n_token; t++) {
            __m512i x4 = broadcast(q + t * p->row_bytes + chunk * 4);
            KLLM_UNROLL
            for (uint32_t g = 0; g < n_group; g++) {
                s[t][g] = _mm512_dpbusd_epi32(s[t][g], w[g], x4);
            }
        }
    }
}

// Adds the sums of a block of one group to its results. d: the block's scale of the first token.
KLLM_INLINE void add_block(__m512 acc[][MAX_GROUPS], __m512i s[][MAX_GROUPS], uint32_t g,
                           const uint8_t *scales, const uint8_t *d, const struct tile *p,
                           uint32_t n_token, struct weight_type type) {
    __m512 dw = load_scales(scales);
    KLLM_UNROLL
    for (uint32_t t = 0; t < n_token; t++) {
        __m512 dx = _mm512_castsi512_ps(broadcast(d + t * p->row_bytes));
        __m512i sums = broadcast(d + p->cols / 8 + t * p->row_bytes);
        __m512i exact = s[t][g];
        if (type.shift != 0) {
            exact = _mm512_sub_epi32(exact, _mm512_slli_epi32(sums, type.shift));
        }
        __m512 a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), _mm512_mul_ps(dw, dx), acc[t][g]);
        if (type.scale_bytes != KLLM_SCALE_BLOCK) {
            __m512 m = load_scales(scales + KLLM_SCALE_BLOCK);
            a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_mul_ps(m, dx), a);
        }
        acc[t][g] = a;
    }
}

// n_group groups of rows times n_token tokens. Groups past the last row repeat the last one.
KLLM_INLINE void multiply_tile(const struct tile *p, uint32_t n_token, uint32_t n_group,
                               struct weight_type type) {
    __m512 acc[TILE_TOKENS][MAX_GROUPS];
    const uint8_t *group[MAX_GROUPS];
    uint32_t n_block = p->cols / KLLM_QK;
    uint32_t last = (p->rows - 1) / KLLM_GROUP;
    KLLM_UNROLL
    for (uint32_t g = 0; g < n_group; g++) {
        group[g] = p->w + min_u32(g, last) * p->group_bytes;
        KLLM_UNROLL
        for (uint32_t t = 0; t < n_token; t++) {
            acc[t][g] = _mm512_setzero_ps();
        }
    }
    const char *next = p->next;
    for (uint32_t b = 0; b < n_block; b++) {
        for (uint32_t i = 0; n_token > 1 && i < p->n_line; i++, next += KLLM_CHUNK) {
            _mm_prefetch(next, _MM_HINT_T1);
        }
        uint64_t scales_off = (uint64_t)n_block * type.block_bytes + b * type.scale_bytes;
        __m512i s[TILE_TOKENS][MAX_GROUPS];
        sum_block(s, group, (uint64_t)b * type.block_bytes, p->x + b * KLLM_QK, p, n_token,
                  n_group, type);
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            const uint8_t *scales = group[g] + scales_off;
            if (n_token == 1) {
                _mm_prefetch((const char *)scales + type.one_ahead, _MM_HINT_T1);
            }
            add_block(acc, s, g, scales, p->x + p->cols + b * 4, p, n_token, type);
        }
    }
    KLLM_UNROLL
    for (uint32_t g = 0; g < n_group; g++) {
        uint32_t first = g * KLLM_GROUP;
        uint32_t n_row = first < p->rows ? min_u32(p->rows - first, KLLM_GROUP) : 0;
        __mmask16 written = (__mmask16)((1u << n_row) - 1);
        KLLM_UNROLL
        for (uint32_t t = 0; t < n_token; t++) {
            _mm512_mask_storeu_ps(p->y + (uint64_t)t * p->y_stride + first, written, acc[t][g]);
        }
    }
}

// One token: reading is the limit. Weights are one long run, on which the next matrix follows: its
// start is asked for before its inputs are there.
KLLM_INLINE void multiply_one(struct tile p, uint32_t rows, struct weight_type type) {
    for (uint32_t r = 0; r < rows; r += type.one_groups * KLLM_GROUP) {
        p.rows = min_u32(type.one_groups * KLLM_GROUP, rows - r);
        multiply_tile(&p, 1, type.one_groups, type);
        p.w += type.one_groups * p.group_bytes;
        p.y += type.one_groups * KLLM_GROUP;
    }
}

// A tile of several tokens by a pair of groups.
KLLM_INLINE void multiply_pair(const struct tile *p, uint32_t n_token, struct weight_type type) {
    switch (n_token) {
    case 2:
        multiply_tile(p, 2, TILE_GROUPS, type);
        break;
    case 3:
        multiply_tile(p, 3, TILE_GROUPS, type);
        break;
    case 4:
        multiply_tile(p, 4, TILE_GROUPS, type);
        break;
    default:
        multiply_tile(p, TILE_TOKENS, TILE_GROUPS, type);
        break;
    }
}

// Several tokens: a pair of groups stays in the cache while all tokens pass by, in tiles as even as
// may be. With each block they ask for some lines of what follows, into the second cache: of the
// next pair, or, since one tile alone is bound by reading, of what lies farther ahead.
KLLM_INLINE void multiply_many(struct tile p, uint32_t rows, uint32_t n_token,
                               struct weight_type type) {
    const uint8_t *x = p.x;
    float *y = p.y;
    uint32_t n_tile = (n_token + TILE_TOKENS - 1) / TILE_TOKENS;
    uint32_t n_block = p.cols / KLLM_QK;
    uint32_t pair_bytes = (uint32_t)(TILE_GROUPS * p.group_bytes);
    uint32_t ahead = n_tile > 1 ? pair_bytes : min_u32(2 * pair_bytes, AHEAD_BYTES);
    uint32_t n_line = (pair_bytes / KLLM_CHUNK + n_tile * n_block - 1) / (n_tile * n_block);
    for (uint32_t r = 0; r < rows; r += TILE_GROUPS * KLLM_GROUP, p.w += pair_bytes) {
        p.rows = min_u32(TILE_GROUPS * KLLM_GROUP, rows - r);
        for (uint32_t i = 0, t = 0, end; i < n_tile; i++, t = end) {
            end = (i + 1) * n_token / n_tile;
            p.x = x + t * p.row_bytes;
            p.y = y + (uint64_t)t * p.y_stride + r;
            uint32_t n_byte = i * n_line * n_block * KLLM_CHUNK; // asked for with earlier tiles
            p.next = (const char *)p.w + ahead + n_byte;
            p.n_line = n_byte < pair_bytes ? n_line : 0;
            multiply_pair(&p, end - t, type);
        }
    }
}

KLLM_INLINE void multiply_quantised(float *y, const void *w, const void *x, uint32_t rows,
                                    uint32_t cols, uint32_t n_token, uint32_t y_stride,
                                    struct weight_type type) {
    uint64_t group_bytes =
        align_up((uint64_t)(cols / KLLM_QK) * (type.block_bytes + type.scale_bytes), KLLM_ALIGN);
    struct tile p = {y, w, x, group_bytes, q8_bytes(cols), rows, cols, y_stride, 0, NULL};
    if (n_token == 1) {
        multiply_one(p, rows, type);
    } else {
        multiply_many(p, rows, n_token, type);
    }
}

#endif
