# SPDX-License-Identifier: Apache-2.0
"""Contests of kernels with NumPy and its BLAS."""

import numpy as np

from benches.declare import Selection, collect
from benches.peers.contest import Contest, local
from benches.peers.models import OURS

N = 384


def contests():
    """dot, matvec and layernorm, as one would write them with NumPy; one thread."""
    rng = np.random.default_rng(1)
    a, b, c = (rng.standard_normal(N, np.float32) for _ in range(3))
    w = rng.standard_normal((N, N), np.float32)
    out = np.empty(N, np.float32)

    def layernorm():
        centred = a - a.mean()
        np.multiply(centred / np.sqrt(np.mean(centred * centred) + 1e-5), b, out=out)
        np.add(out, c, out=out)

    work = {
        f"dot/f32/{N}": lambda: np.dot(a, b),
        f"matvec/f32/{N}x{N}": lambda: np.dot(w, a, out=out),
        f"layernorm/{N}": layernorm,
    }
    own, _ = collect(Selection(only=tuple(work)))
    best = {b.key: b for b in own}  # the last of a key is the best this CPU runs
    return [
        Contest(f"kernel/{key}", "op", 1,
                {OURS: local(best[key].make), "numpy": local(lambda call=call: _repeated(call))},
                weight=0.3)
        for key, call in work.items()
    ]  # fmt: skip


def _repeated(call):
    def run(loops):
        for _ in range(loops):
            call()

    return run
