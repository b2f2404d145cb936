// SPDX-License-Identifier: Apache-2.0
// Quantised matrix times "q8" rows with VPMADDUBSW: the body that the three weight types share.
//
// Half a 64-byte chunk holds 4 columns of 8 rows: two products of each row in two 16-bit lanes.
#ifndef KLLM_MATMUL_AVX2_H
#define KLLM_MATMUL_AVX2_H

#include <immintrin.h>

#include "../kernels.h"
#include "../layout.h"

// A tile is 3 groups of rows times one token, or one group times up to 4 tokens.
enum { TILE_TOKENS = 4, TILE_GROUPS = 3 };

// How far ahead weights are asked for, in the second cache, by one token for nibbles and at most by one
// tile of several. Bytes take so little time that the CPU itself looks far enough ahead.
enum { ONE_AHEAD_BYTES = 8 * 1024, AHEAD_BYTES = 32 * 1024 };

// What differs between the weight types; always a compile-time constant.
struct weight_type {
    uint32_t block_bytes; // quants of a block of a group
    uint32_t scale_bytes; // scales of a block of a group
    uint32_t shift;       // log2 of what is added to each weight to make it unsigned; 0 for none
};

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
    uint32_t gap;     // groups between those of a tile
    uint32_t n_line;  // lines that several tokens ask for with each block
    const char *next; // the first of them
};

// The 4 bytes at p, 8 times.
KLLM_INLINE __m256i broadcast(const uint8_t *p) {
    return _mm256_set1_epi32(*(const int32_t *)(const void *)p);
}

KLLM_INLINE __m256 load_scales(const uint8_t *scales) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)scales));
}

KLLM_INLINE __m256i load_bytes(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

// Keeps gcc from adding in another order, for which it would hold all products in memory.
KLLM_INLINE __m256i in_order(__m256i sum) {
    __asm__("" : "+x"(sum));
    return sum;
}

// Exact block sums of 16 rows, unbiased, s[token][half of the rows], for 4-bit weights.
// A 16-bit lane takes 16 products: 16 * 15 * 127 = 30480 < 2^15.
KLLM_INLINE void block_sums_q4(__m256i s[][2], const uint8_t *block, const uint8_t *q,
                               uint64_t row_bytes, uint32_t n_token) {
    const __m256i low = _mm256_set1_epi8(15);
    KLLM_UNROLL
    for (uint32_t j = 0; j < 4; j++) {
        __m256i bytes[2] = {load_bytes(block + j * KLLM_CHUNK),
                            load_bytes(block + j * KLLM_CHUNK + 32)};
        if (n_token == 1) {
            _mm_prefetch((const char *)block + j * KLLM_CHUNK + ONE_AHEAD_BYTES, _MM_HINT_T1);
        }
        KLLM_UNROLL
        for (uint32_t nibble = 0; nibble < 2; nibble++) {
            __m256i w[2];
            KLLM_UNROLL
            for (uint32_t h = 0; h < 2; h++) {
                w[h] = nibble == 0 ? bytes[h] : _mm256_srli_epi16(bytes[h], 4);
                w[h] = _mm256_and_si256(w[h], low);
            }
            KLLM_UNROLL
            for (uint32_t t = 0; t < n_token; t++) {
                __m256i x = broadcast(q + t * row_bytes + (j + 4 * nibble) * 4);
                KLLM_UNROLL
                for (uint32_t h = 0; h < 2; h++) {
                    __m256i products = _mm256_maddubs_epi16(w[h], x);
                    s[t][h] =
                        j + nibble == 0 ? products : in_order(_mm256_add_epi16(s[t][h], products));
                }
            }
        }
    }
    KLLM_UNROLL
    for (uint32_t t = 0; t < n_token; t++) {
        KLLM_UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            s[t][h] = _mm256_madd_epi16(s[t][h], _mm256_set1_epi16(1));
        }
    }
}

// The same for 8-bit weights: |w| times x with the sign of w.
// A 16-bit lane takes 2 products: 2 * 128 * 127 = 32512 < 2^15.
KLLM_INLINE void block_sums_q8(__m256i s[][2], const uint8_t *block, const uint8_t *q,
                               uint64_t row_bytes, uint32_t n_token) {
    KLLM_UNROLL
    for (uint32_t j = 0; j < 8; j++) {
        __m256i w[2] = {load_bytes(block + j * KLLM_CHUNK),
                        load_bytes(block + j * KLLM_CHUNK + 32)};
        __m256i magnitude[2] = {_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])};
        KLLM_UNROLL
        for (uint32_t t = 0; t < n_token; t++) {
            __m256i x = broadcast(q + t * row_bytes + j * 4);
            KLLM_UNROLL
            for (uint32_t h = 0; h < 2; h++) {
                __m256i products = _mm256_maddubs_epi16(magnitude[h], _mm256_sign_epi8(x, w[h]));
                products = _mm256_madd_epi16(products, _mm256_set1_epi16(1));
                s[t][h] = j == 0 ? products : in_order(_mm256_add_epi32(s[t][h], products));
            }
        }
    }
}

// Adds the block's exact sums of one half to the results of n_token tokens.
// d: the scales of the "q8" rows for the block; sum_off: from them to the sums.
KLLM_INLINE void add_block(__m256 acc[][2], __m256i s[][2], const uint8_t *scales,
                           const uint8_t *d, uint64_t sum_off, uint64_t row_bytes,
                           uint32_t n_token, uint32_t h, struct weight_type type) {
    __m256 dw = load_scales(scales + h * 16);
    KLLM_UNROLL
    for (uint32_t t = 0; t < n_token; t++) {
        __m256 dx = _mm256_castsi256_ps(broadcast(d + t * row_bytes));
        __m256i sums = broadcast(d + t * row_bytes + sum_off);
        __m256i exact = s[t][h];
        if (type.shift != 0) {
            exact = _mm256_sub_epi32(exact, _mm256_slli_epi32(sums, (int)type.shift));
        }
        __m256 a = _mm256_fmadd_ps(_mm256_cvtepi32_ps(exact), _mm256_mul_ps(dw, dx), acc[t][h]);
        if (type.scale_bytes != KLLM_SCALE_BLOCK) {
            __m256 m = load_scales(scales + KLLM_SCALE_BLOCK + h * 16);
            a = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_mul_ps(m, dx), a);
        }
        acc[t][h] = a;
    }
}

// Writes the first n_row of 16 rows.
KLLM_INLINE void store_rows(float *y, const __m256 rows[2], uint32_t n_row) {
    if (n_row == KLLM_GROUP) {
        _mm256_storeu_ps(y, rows[0]);
        _mm256_storeu_ps(y + 8, rows[1]);
        return;
    }
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (uint32_t h = 0; h < 2; h++) {
        __m256i written = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n_row - 8 * (int)h), lane);
        _mm256_maskstore_ps(y + 8 * h, written, rows[h]);
    }
}

// n_group groups of rows times n_token tokens, of which one is 1. Groups past the last row repeat
// the last one.
KLLM_INLINE void multiply_tile(const struct tile *p, uint32_t n_token, uint32_t n_group,
                               struct weight_type type) {
    __m256 acc[TILE_TOKENS][2]; // [token + group][half]
    const uint8_t *group[TILE_GROUPS];
    uint32_t n_block = p->cols / KLLM_QK;
    uint32_t last = (p->rows - 1) / KLLM_GROUP;
    KLLM_UNROLL
    for (uint32_t i = 0; i < n_group + n_token - 1; i++) {
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    }
    KLLM_UNROLL
    for (uint32_t g = 0; g < n_group; g++) {
        group[g] = p->w + min_u32(g * p->gap, last) * p->group_bytes;
    }
    const char *next = p->next;
    for (uint32_t b = 0; b < n_block; b++) {
        for (uint32_t i = 0; n_token > 1 && i < p->n_line; i++, next += KLLM_CHUNK) {
            _mm_prefetch(next, _MM_HINT_T1);
        }
        const uint8_t *q = p->x + b * KLLM_QK;
        const uint8_t *d = p->x + p->cols + b * 4;
        KLLM_UNROLL
        for (uint32_t g = 0; g < n_group; g++) {
            __m256i s[TILE_TOKENS][2];
            const uint8_t *block = group[g] + (uint64_t)b * type.block_bytes;
            const uint8_t *scales =
                group[g] + (uint64_t)n_block * type.block_bytes + b * type.scale_bytes;
            if (type.block_bytes == KLLM_Q8_BLOCK) {
                block_sums_q8(s, block, q, p->row_bytes, n_token);
            } else {
                block_sums_q4(s, block, q, p->row_bytes, n_token);
            }
            if (n_token == 1 && type.block_bytes == KLLM_Q4_BLOCK) {
                _mm_prefetch((const char *)scales + ONE_AHEAD_BYTES, _MM_HINT_T1);
            }
            add_block(acc + g, s, scales, d, p->cols / 8, p->row_bytes, n_token, 0, type);
            add_block(acc + g, s, scales, d, p->cols / 8, p->row_bytes, n_token, 1, type);
        }
    }
    KLLM_UNROLL
    for (uint32_t i = 0; i < n_group + n_token - 1; i++) {
        uint32_t t = n_group == 1 ? i : 0;
        uint32_t first = (i - t) * p->gap * KLLM_GROUP;
        if (first < p->rows) {
            store_rows(p->y + (uint64_t)t * p->y_stride + first, acc[i],
                       min_u32(p->rows - first, KLLM_GROUP));
        }
    }
}

// One token: reading is the limit, and memory gives most to three runs that lie far apart.
KLLM_INLINE void multiply_one(struct tile p, uint32_t rows, struct weight_type type) {
    uint32_t n_group = (rows + KLLM_GROUP - 1) / KLLM_GROUP;
    p.gap = (n_group + TILE_GROUPS - 1) / TILE_GROUPS;
    for (uint32_t g = 0; g < p.gap; g++) {
        p.rows = rows - g * KLLM_GROUP;
        multiply_tile(&p, 1, TILE_GROUPS, type);
        p.w += p.group_bytes;
        p.y += KLLM_GROUP;
    }
}

// A tile of several tokens by a group.
KLLM_INLINE void multiply_group(const struct tile *p, uint32_t n_token, struct weight_type type) {
    switch (n_token) {
    case 2:
        multiply_tile(p, 2, 1, type);
        break;
    case 3:
        multiply_tile(p, 3, 1, type);
        break;
    default:
        multiply_tile(p, TILE_TOKENS, 1, type);
        break;
    }
}

// Several tokens: a group stays in the cache while all tokens pass by, in tiles as even as may be.
// With each block they ask for some lines of what follows: of the next group, or, since one tile
// alone is bound by reading, of what lies farther ahead.
KLLM_INLINE void multiply_many(struct tile p, uint32_t rows, uint32_t n_token,
                               struct weight_type type) {
    const uint8_t *x = p.x;
    float *y = p.y;
    uint32_t n_tile = (n_token + TILE_TOKENS - 1) / TILE_TOKENS;
    uint32_t n_block = p.cols / KLLM_QK;
    uint32_t group_bytes = (uint32_t)p.group_bytes;
    uint32_t ahead = n_tile > 1 ? group_bytes : min_u32(4 * group_bytes, AHEAD_BYTES);
    uint32_t n_line = (group_bytes / KLLM_CHUNK + n_tile * n_block - 1) / (n_tile * n_block);
    for (uint32_t r = 0; r < rows; r += KLLM_GROUP, p.w += p.group_bytes) {
        p.rows = min_u32(KLLM_GROUP, rows - r);
        for (uint32_t i = 0, t = 0, end; i < n_tile; i++, t = end) {
            end = (i + 1) * n_token / n_tile;
            p.x = x + t * p.row_bytes;
            p.y = y + (uint64_t)t * p.y_stride + r;
            uint32_t n_byte = i * n_line * n_block * KLLM_CHUNK; // asked for with earlier tiles
            p.next = (const char *)p.w + ahead + n_byte;
            p.n_line = n_byte < group_bytes ? n_line : 0;
            multiply_group(&p, end - t, type);
        }
    }
}

KLLM_INLINE void multiply_quantised(float *y, const void *w, const void *x, uint32_t rows,
                                    uint32_t cols, uint32_t n_token, uint32_t y_stride,
                                    struct weight_type type) {
    uint64_t group_bytes =
        align_up((uint64_t)(cols / KLLM_QK) * (type.block_bytes + type.scale_bytes), KLLM_ALIGN);
    struct tile p = {y, w, x, group_bytes, q8_bytes(cols), rows, cols, y_stride, 1, 0, NULL};
    if (n_token == 1) {
        multiply_one(p, rows, type);
    } else {
        multiply_many(p, rows, n_token, type);
    }
}

#endif
