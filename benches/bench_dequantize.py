# SPDX-License-Identifier: Apache-2.0
"""Quantised blocks of 32 back to floats."""

from benches.kernels import declare_kernel, packed, runner, zeros

TYPES = {"q4_0": 18, "q8_0": 34}  # bytes of 32 elements
TARGET = 2e-6  # a block


def declare(selection):
    out = []
    for i, (dtype, block_bytes) in enumerate(TYPES.items()):
        for blocks in (1, 32):
            cols = 32 * blocks

            def make(idx, dtype=dtype, cols=cols):
                return runner(idx, zeros(4 * cols), packed(dtype, 16, cols), dims=(3, cols))

            n_bytes = blocks * (block_bytes + 128)
            shape = f"{blocks}x32"
            out += declare_kernel(
                selection, f"dequantize/{dtype}/{shape}", f"dequantize_f32_{dtype}", shape, make,
                order=10 + i, seconds_target=TARGET * blocks,
                work={"byte": n_bytes, "foot": n_bytes, "item": blocks, "item_name": "block"},
                explain=f"y[i] = d * q[i] for {blocks} block(s) of 32 in {dtype}: reads "
                f"{block_bytes} bytes and writes 128 a block; limit: L1 bandwidth. One row out of "
                "a packed group of 16, so a block of its row lies in 4-byte pieces.",
            )  # fmt: skip
    return out
