# SPDX-License-Identifier: Apache-2.0
"""Inner product of two vectors."""

from benches.kernels import declare_kernel, floats, runner, zeros

N = 384


def declare(selection):
    def make(idx):
        return runner(idx, zeros(64), floats(N), floats(N, 2), dims=(N,))

    return declare_kernel(
        selection, f"dot/f32/{N}", "dot_f32", str(N), make, order=20, seconds_target=1e-6,
        work={"flop": 2 * N, "byte": 8 * N, "foot": 8 * N},
        explain="sum of a[i] * b[i] over 384 floats: 16 lanes of fused multiply-adds, added in a "
        "tree. 2 flop and 8 bytes read for each element; limit: reading both vectors from L1.",
    )  # fmt: skip
