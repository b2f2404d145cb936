# SPDX-License-Identifier: Apache-2.0
"""The KV cache: one position of one layer in, one out (6 layers, 256 positions, 384 wide)."""

from itertools import cycle

import numpy as np

from benches.kernels import declare_kernel, floats, packed, runner, zeros

LAYERS, POSITIONS, WIDTH = 6, 256, 384
PAIR = 2 * WIDTH  # keys and values


def declare(selection):
    def append(idx):
        cache = zeros(2 * LAYERS * POSITIONS * PAIR).view(np.float16).reshape(-1, PAIR)
        turn = cycle([runner(idx, cache[r], floats(PAIR), dims=(PAIR,)) for r in _places()])
        return lambda loops: next(turn)(loops)

    def read(idx):
        cache = packed("f16", LAYERS * POSITIONS, PAIR)
        turn = cycle([runner(idx, zeros(4 * PAIR), cache, dims=(r, PAIR)) for r in _places()])
        return lambda loops: next(turn)(loops)

    shape = f"{LAYERS}x{POSITIONS}x{WIDTH}"
    return declare_kernel(
        selection, f"kv/append/{shape}", "quantize_f16_f32", shape, append, order=60,
        seconds_target=1e-6, work={"byte": 6 * PAIR, "foot": 6 * PAIR},
        explain="Writes key and value of a position (2 x 384 floats) to an f16 cache of 6 x 256 "
        "positions, another place in each sample. Limit: cache bandwidth.",
    ) + declare_kernel(
        selection, f"kv/read/{shape}", "dequantize_f32_f16", shape, read, order=61,
        seconds_target=1e-6, work={"byte": 6 * PAIR, "foot": 6 * PAIR},
        explain="Reads key and value of a position (2 x 384) of an f16 cache of 6 x 256 positions "
        "as floats, another place in each sample. Limit: cache bandwidth.",
    )  # fmt: skip


def _places():
    """Returns positions of all layers in random order."""
    places = np.random.default_rng(1).permutation(LAYERS * POSITIONS)[:64]
    return [int(place) for place in places]
