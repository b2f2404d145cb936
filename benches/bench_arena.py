# SPDX-License-Identifier: Apache-2.0
"""The arena: take and give back."""

from benches.declare import Bench
from benches.kernels import COPIES
from kernel_llm._native_cffi import ffi, lib

N_BYTES, ALIGNMENT = 1024, 16


def declare(selection):
    def make():
        arena = ffi.new("struct kllm_arena *")
        lib.kllm_arena_init(arena, 1 << 20)

        def run(loops):
            if lib.kllm_arena_spin(arena, N_BYTES, ALIGNMENT, loops) < 0:
                raise RuntimeError("the arena is too small")

        return run

    return [
        Bench(
            f"arena/{N_BYTES}", make, order=70, seconds_target=1e-6, level="scalar",
            copies=COPIES,
            explain="Takes 1 KB aligned to 16 from a bump arena and resets it: one addition, one "
            "compare. Limit: a few cycles.",
        )
    ]  # fmt: skip
