# SPDX-License-Identifier: Apache-2.0
"""One head of attention over a full context."""

from benches.declare import Bench, Skipped
from benches.kernels import COPIES, floats, levels, packed, runner, zeros

N_POS, HEAD_DIM = 256, 64


def declare(selection):
    stems = ("matmul_f32_f16", "softmax_f32", "attn_mix_f32_f16")
    parts = [levels(stem, selection) for stem in stems]
    shape = f"{N_POS}x{HEAD_DIM}"
    if not all(parts):
        return [Skipped(f"attention/f16/{shape}", "this core lacks a kernel of attention")]
    n = min(len(p) for p in parts)
    return [_bench([p[i] for p in parts], shape) for i in range(n)]


def _bench(chosen, shape):
    level, isa, _ = chosen[-1]

    def make():
        scores, out = zeros(4 * N_POS), zeros(4 * HEAD_DIM)
        keys, values = (packed("f16", N_POS, HEAD_DIM, seed) for seed in (1, 2))
        score = runner(chosen[0][2], scores, keys, floats(HEAD_DIM),
                       dims=(N_POS, HEAD_DIM, 1, N_POS))  # fmt: skip
        soft = runner(chosen[1][2], scores, dims=(N_POS,), scalars=(0.125,))
        mix = runner(chosen[2][2], out, scores, values,
                     dims=(N_POS, HEAD_DIM, 1, N_POS, N_POS))  # fmt: skip

        def run(loops):
            # each part repeats within C; together they do the work of `loops` heads
            score(loops)
            soft(loops)
            mix(loops)

        return run

    n_bytes = 4 * N_POS * HEAD_DIM + 12 * N_POS
    return Bench(
        f"attention/f16/{isa}/{shape}", make, key=f"attention/f16/{shape}", level=level, order=50,
        copies=COPIES,
        work={"flop": 4 * N_POS * HEAD_DIM + 12 * N_POS, "byte": n_bytes, "foot": n_bytes},
        explain="scores = K q / sqrt(64), softmax, out = sum of p[t] V[t], over 256 positions of "
        "an f16 cache, one head of 64. Limit: reading keys and values once.",
    )  # fmt: skip
