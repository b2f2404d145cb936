# SPDX-License-Identifier: Apache-2.0
"""A dense layer: matrix times vector."""

from benches.kernels import declare_kernel, floats, packed, q8_row, runner, zeros

N = 384
KERNELS = {
    "f32": ("matmul_f32", 4.0),
    "f16": ("matmul_f32_f16", 2.0),
    "q8_0": ("matmul_f32_q8_0_q8", 34 / 32),
    "q4_0": ("matmul_f32_q4_0_q8", 18 / 32),
}  # bytes of a weight


def declare(selection):
    out = []
    for i, (dtype, (stem, weight_bytes)) in enumerate(KERNELS.items()):

        def make(idx, dtype=dtype):
            x = q8_row(N) if dtype.startswith("q") else floats(N, 2)
            return runner(idx, zeros(4 * N), packed(dtype, N, N), x, dims=(N, N, 1, N))

        n_bytes = int(N * N * weight_bytes) + 8 * N
        out += declare_kernel(
            selection, f"matvec/{dtype}/{N}x{N}", stem, f"{N}x{N}", make, order=30 + i,
            seconds_target=500e-6, work={"flop": 2 * N * N, "byte": n_bytes, "foot": n_bytes},
            explain=f"y = W x, W {N} x {N} in {dtype}: 2 flop a weight, {weight_bytes:.4g} bytes "
            "a weight read once. Quantised weights meet activations quantised to 8 bits, block "
            "sums are exact integers. Limit: reading the weights from the cache they fit in.",
        )  # fmt: skip
    return out
