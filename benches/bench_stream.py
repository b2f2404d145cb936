# SPDX-License-Identifier: Apache-2.0
"""
Memory bandwidth of one core, near and far: what "% of limit" is measured against; and work that
is not ours, by which a change of the machine is told from a change of the code.
"""

import hashlib

import numpy as np

from benches.declare import CONTROL, STREAM_BYTES, Bench
from benches.kernels import floats, runner, variants, zeros


def declare(selection):
    out = []
    for i, (name, n_bytes) in enumerate(STREAM_BYTES.items()):
        n = n_bytes // 8
        weight = 2 if n_bytes > 1 << 23 else 1

        def read(n=n):
            idx = variants()["dot_f32"][-1][1]
            return runner(idx, zeros(64), floats(n), floats(n, 2), dims=(n,))

        def copy(n=n):
            a, b = floats(n), zeros(4 * n).view(np.float32)

            def run(loops):
                for _ in range(loops):
                    np.copyto(b, a)

            return run

        fields = {"level": "", "weight": weight, "work": {"byte": n_bytes, "foot": n_bytes}}
        out.append(
            Bench(f"stream/read/{name}", read, order=80 + i, **fields,
                  explain=f"Reads {name} as the two vectors of the best inner product.")
        )  # fmt: skip
        if n_bytes < STREAM_BYTES["256K"]:
            continue  # NumPy's call takes longer than such a copy
        out.append(
            Bench(f"stream/copy/{name}", copy, order=86 + i, **fields,
                  explain=f"Copies within {name} as NumPy does; bytes read and written.")
        )  # fmt: skip
    out.append(
        Bench(CONTROL, _control, order=95, level="",
              explain="SHA-256 of 4 KB by Python's own library. None of our code: where it is "
              "slower than in the baseline, the machine is.")
    )  # fmt: skip
    return out


def _control():
    data = bytes(4096)

    def run(loops):
        for _ in range(loops):
            hashlib.sha256(data).digest()

    return run
