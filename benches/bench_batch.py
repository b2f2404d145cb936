# SPDX-License-Identifier: Apache-2.0
"""Several sequences decoded together: what the second one costs."""

from benches.bench_generate import N_BEFORE, cpu_levels, decode_runner
from benches.declare import Bench, Skipped
from benches.seeded import SHAPES, seeded_image, weight_bytes, why_not

SIZE, DTYPE = "tiny", "q4_0"
COUNTS = (1, 2, 4, 8)


def declare(selection):
    if not any(selection.wants(f"batch/{n_seq}") for n_seq in COUNTS):
        return []
    if reason := why_not(SHAPES[SIZE], DTYPE):
        return [Skipped(f"batch/{n_seq}", reason) for n_seq in COUNTS]
    shape = SHAPES[SIZE]
    n_bytes = weight_bytes(shape, DTYPE)
    out = []
    for n_seq in COUNTS:
        for level, isa, cpu in cpu_levels(selection):
            key = f"batch/{n_seq}"

            def make(n_seq=n_seq, cpu=cpu):
                return decode_runner(seeded_image(SIZE, DTYPE), cpu, 1, n_seq)

            out.append(
                Bench(f"batch/{n_seq}/{isa}", make, key=key, level=level, order=150,
                      batch=f"model/{SIZE}", weight=3,
                      work={"flop": 2 * n_seq * shape.n_weight, "byte": n_bytes, "foot": n_bytes,
                            "item": n_seq, "item_name": "token"},
                      explain=f"A token for each of {n_seq} sequence(s) in one pass of the {SIZE} "
                      f"{DTYPE} model, each after {N_BEFORE} tokens; tok/s is the total, a "
                      f"sequence gets 1/{n_seq} of it. Limit: the weights are read once for all.")
            )  # fmt: skip
    return out
