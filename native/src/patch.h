// SPDX-License-Identifier: Apache-2.0
// What the patch kernels of all instruction sets share: where a column lies in packed rows, and which
// columns the tokens of a tile have in common.
//
// Few channels are large, and they are so in most tokens: each column is read as floats once for all
// tokens of a tile, which ends where the room for columns does. Who includes this has said how many
// there is room for: TILE_TOKENS, TILE_COLUMNS (at most 255).
#ifndef KLLM_PATCH_H
#define KLLM_PATCH_H

#include "kernels.h"
#include "layout.h"

// The sizes of a quantised type, and of a group of its rows.
struct packed_type {
    uint32_t block_bytes;
    uint32_t scale_bytes;
    uint64_t group_bytes;
    uint32_t n_block;
};

KLLM_INLINE struct packed_type packed_type(uint32_t block_bytes, uint32_t scale_bytes,
                                           uint32_t cols) {
    uint32_t n_block = cols / KLLM_QK;
    uint64_t group_bytes = align_up((uint64_t)n_block * (block_bytes + scale_bytes), KLLM_ALIGN);
    return (struct packed_type){block_bytes, scale_bytes, group_bytes, n_block};
}

// Where a column stands in a group: the words of 16 rows, the lowest bit in a word, the scales.
struct place {
    uint32_t col;
    uint32_t words_off;
    uint32_t scales_off;
    uint32_t shift;
};

KLLM_INLINE struct place place_of(uint32_t col, struct packed_type type) {
    uint32_t block = col / KLLM_QK;
    uint32_t i = col % KLLM_QK;
    uint32_t chunk = type.block_bytes == KLLM_Q8_BLOCK ? i / 4 : i % 16 / 4;
    uint32_t high_nibble = type.block_bytes == KLLM_Q8_BLOCK ? 0 : i / 16;
    return (struct place){col, block * type.block_bytes + chunk * KLLM_CHUNK,
                          type.n_block * type.block_bytes + block * type.scale_bytes,
                          i % 4 * 8 + high_nibble * 4};
}

// A tile is worth its while from LEAST_TOKENS on.
enum { LEAST_TOKENS = 8, N_SLOT = 8 * TILE_COLUMNS };

struct tile {
    uint32_t n_token;
    uint32_t n_column;
    struct place places[TILE_COLUMNS];
    uint32_t column_of[TILE_TOKENS][KLLM_N_OUTLIER];
};

// Makes a tile of the first of n_token tokens. Of two columns that share a slot the one seen last is
// found; the other, should it come again, is read twice.
KLLM_INLINE void make_tile(struct tile *tile, const struct outlier *x, uint32_t n_token,
                           struct packed_type type) {
    uint8_t slots[N_SLOT] = {0};
    uint32_t n = 0;
    uint32_t t = 0;
    tile->places[0].col = ~0u; // what an empty slot finds
    for (; t < min_u32(n_token, TILE_TOKENS) && n + KLLM_N_OUTLIER <= TILE_COLUMNS; t++) {
        for (uint32_t k = 0; k < KLLM_N_OUTLIER; k++, x++) {
            uint8_t *slot = &slots[x->col % N_SLOT];
            if (tile->places[*slot].col != x->col) {
                *slot = (uint8_t)n;
                tile->places[n++] = place_of(x->col, type);
            }
            tile->column_of[t][k] = *slot;
        }
    }
    tile->n_token = t;
    tile->n_column = n;
}

#endif
