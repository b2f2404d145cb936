# SPDX-License-Identifier: Apache-2.0
"""What a layer does between its matrices: norms, softmax, RoPE, activation."""

from benches.kernels import declare_kernel, floats, runner, zeros

N, N_SOFT, HEADS, HEAD_DIM, N_FF = 384, 256, 6, 64, 1536


def declare(selection):
    def layernorm(idx):
        return runner(idx, zeros(4 * N), *(floats(N, s) for s in (1, 2, 3)), dims=(N,),
                      scalars=(1e-5,))  # fmt: skip

    def rmsnorm(idx):
        return runner(idx, zeros(4 * N), floats(N), floats(N, 2), dims=(N,), scalars=(1e-5,))

    def softmax(idx):
        return runner(idx, floats(N_SOFT), dims=(N_SOFT,), scalars=(0.125,))

    def rope(idx):
        angles = floats(HEAD_DIM)
        angles[0::2], angles[1::2] = 0.6, 0.8  # cos and sin: the length of a pair stays
        return runner(idx, floats(HEADS * HEAD_DIM), angles, dims=(HEADS, HEAD_DIM, HEAD_DIM, 1))

    def swiglu(idx):
        return runner(idx, zeros(4 * N_FF), floats(N_FF), floats(N_FF, 2), dims=(N_FF,))

    rows = [
        (f"layernorm/{N}", "layernorm_f32", layernorm, 8 * N, 16 * N,
         "y = (x - mean) / sqrt(variance + eps) * w + b: two passes of sums and one of scaling."),
        (f"rmsnorm/{N}", "rmsnorm_f32", rmsnorm, 4 * N, 12 * N,
         "y = x / sqrt(mean of squares + eps) * w."),
        (f"softmax/{N_SOFT}", "softmax_f32", softmax, 12 * N_SOFT, 8 * N_SOFT,
         "x = exp(x - max) / sum, in place: the exponential is a polynomial of 8 multiply-adds. "
         "Runs again on its own output; the time does not depend on the values."),
        (f"rope/{HEADS}x{HEAD_DIM}", "rope_f32", rope, 3 * N, 8 * N,
         "Rotates the pairs of 6 heads of 64 by the angles of a position, in place."),
        (f"swiglu/{N_FF}", "swiglu_f32", swiglu, 14 * N_FF, 12 * N_FF,
         "y = gate / (1 + exp(-gate)) * up over 1536 elements."),
    ]  # fmt: skip
    out = []
    for i, (key, stem, make, flop, n_bytes, explain) in enumerate(rows):
        shape = key.partition("/")[2]
        out += declare_kernel(
            selection, key, stem, shape, make, order=40 + i, seconds_target=10e-6,
            work={"flop": flop, "byte": n_bytes, "foot": n_bytes},
            explain=explain + " Limit: L1 bandwidth; it computes more than it moves.",
        )  # fmt: skip
    return out
