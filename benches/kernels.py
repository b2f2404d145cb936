# SPDX-License-Identifier: Apache-2.0
"""The core's kernel variants by name, and seeded buffers to run them on."""

import numpy as np

from benches.declare import Bench, Skipped
from kernel_llm._native_cffi import ffi, lib

ALIGN = 64
PAGE = 4096
SEED = 1
COPIES = 4  # of a kernel's buffers

# What the variants are called that no wider instruction set is needed for.
SCALAR = "c"


def variants():
    """Returns {"dot_f32": [(isa, index), …]} of what this CPU can run, slowest first."""
    out, cpu = {}, lib.kllm_cpu()
    name = ffi.new("uint8_t[64]")
    for idx in range(lib.kllm_kernel_count()):
        needs = lib.kllm_kernel_name(idx, name, 64)
        if needs & ~cpu:
            continue
        text = ffi.string(ffi.cast("char *", name)).decode()
        stem, _, isa = text.rpartition("_")
        if isa in ("dotprod", "i8mm"):  # "neon_dotprod"
            stem, _, first = stem.rpartition("_")
            isa = first + "_" + isa
        out.setdefault(stem, []).append((isa, idx))
    return out


def levels(stem, selection):
    """Returns [(level, isa, index)] of a kernel: portable, and the best there is with simd."""
    found = variants().get(stem, [])
    rows = [("scalar", isa, idx) for isa, idx in found if isa == SCALAR]
    if selection.simd and found and found[-1][0] != SCALAR:
        rows.append(("simd", *found[-1]))
    return rows


def zeros(n_bytes, place=0):
    """
    Returns n_bytes of zeroed memory as a uint8 array, aligned to ALIGN.

    Its offset within a page is always the same, and another for each `place`: where buffers lie
    to one another costs a kernel up to a tenth, which must not change from run to run. The pages
    are chance, which matters too: hence COPIES.
    """
    raw = np.zeros(n_bytes + 2 * PAGE, np.uint8)
    off = -raw.ctypes.data % PAGE + 17 * ALIGN * place % PAGE
    return raw[off : off + n_bytes]


def floats(n, seed=SEED):
    """Returns n aligned floats of a normal distribution."""
    out = zeros(4 * n, seed).view(np.float32)
    out[:] = np.random.default_rng(seed).standard_normal(n, np.float32)
    return out


def packed(dtype, rows, cols, seed=SEED):
    """
    Returns an aligned packed matrix of random weights: dtype "f32", "f16", "q4_0", "q8_0".

    Quants are random bytes, scales 1 / 64: what the bytes are does not change the time.
    """
    if dtype == "f32":
        return floats(rows * cols, seed)
    if dtype == "f16":
        out = zeros(2 * rows * cols, seed).view(np.float16)
        out[:] = np.random.default_rng(seed).standard_normal(rows * cols, np.float32)
        return out
    number = {"q4_0": lib.KLLM_Q4_0, "q4_1": lib.KLLM_Q4_1, "q8_0": lib.KLLM_Q8_0}[dtype]
    out = zeros(lib.kllm_tensor_bytes(number, rows, cols), seed)
    groups = out.reshape(-(-rows // 16), -1)
    quant_bytes = cols * 16 // (1 if dtype == "q8_0" else 2)
    groups[:, :quant_bytes] = np.random.default_rng(seed).integers(
        0, 256, (len(groups), quant_bytes), np.uint8
    )
    groups[:, quant_bytes:].view(np.float16)[:] = 1 / 64
    return out


def q8_row(n, seed=SEED):
    """Returns a quantised row of activations of n random floats."""
    out = zeros(-(-(n + n // 4) // ALIGN) * ALIGN, 3)
    idx = variants()["quantize_q8_f32"][0][1]
    runner(idx, out, floats(n, seed), dims=(n,))(1)
    return out


def runner(idx, out, a=None, b=None, c=None, dims=(), scalars=()):
    """Returns run(loops), which repeats kernel variant idx on these arrays within C."""
    keep = (out, a, b, c)
    pointers = [ffi.NULL if x is None else ffi.from_buffer("char[]", x.view(np.uint8).reshape(-1))
                for x in keep]  # fmt: skip
    dims = ffi.new("uint32_t[]", list(dims) or [0])
    scalars = ffi.new("float[]", list(scalars) or [0.0])
    call = lib.kllm_kernel_run

    def run(loops):
        status = call(idx, *pointers, dims, scalars, loops)
        if status != 0:
            raise RuntimeError(f"kernel {idx} returned {status}")

    run.keep = keep  # the arrays must outlive the pointers
    return run


def declare_kernel(selection, key, stem, shape, make, **fields):
    """
    Returns the benches of one table row: one for each level of the kernel.

    shape: the last part of the ids ("384"); make(idx): returns run(loops).
    """
    out = [
        Bench(f"{key[: len(key) - len(shape) - 1]}/{isa}/{shape}", lambda idx=idx: make(idx),
              key=key, level=level, copies=COPIES, **fields)
        for level, isa, idx in levels(stem, selection)
    ]  # fmt: skip
    return out or [Skipped(key, f"this core has no kernel {stem}")]
