# SPDX-License-Identifier: Apache-2.0
"""Contests of whole models: every row that says how fast the runtime is to be."""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from benches.machine import free_bytes
from benches.peers.contest import Contest, Target, remote
from benches.remote import BuildError
from benches.seeded import Shape, weight_bytes, write_gguf
from kernel_llm.files import cache_dir
from kernel_llm.progress import show_progress

OURS, LLAMA, IK, AVX2 = "kernel-llm", "llama.cpp", "ik_llama.cpp", "llama.cpp-avx2"
READ = "plain reading"

N_PROMPT = 512
N_BEFORE = 64  # tokens before those of a decode row
N_FAR = 2000
N_CTX = 512
SAMPLE_NS = 50_000_000
OPEN_S = 0.05
READ_SHARE = Target(0.85)

# {types of weights: targets by number of threads} beside llama.cpp, and for prompts beside ik
DECODE = {"q4_0": {1: 1.5, 2: 2.0}, "q8_0": {1: 1.4, 2: 2.0}, "f16": {1: 1.2, 2: 1.2},
          "f32": {1: 1.2, 2: 1.2}}  # fmt: skip
PROMPT = {"q4_0": (3, 2), "q8_0": (3, 2)}
AVX2_TARGETS = {"decode": Target(1.3), "prompt": Target(1.8)}

ONE_B = Shape(16, 2048, 8192, n_head_kv=8, n_vocab=128256)  # that of Llama 3.2 1B


def folder():
    path = cache_dir() / "peers"
    path.mkdir(exist_ok=True)
    return path


def variant(model, dtype):
    """Returns the GGUF file of a model with its matrices in that type, made once. OSError."""
    from kernel_llm.gguf.quantize import quantize

    model = Path(model).resolve()
    stat = model.stat()
    name = f"{model.stem}-{stat.st_size:x}-{int(stat.st_mtime):x}-{dtype}.gguf"
    path = folder() / name
    if not path.exists():
        with show_progress(f"writing {dtype}") as show:
            quantize(str(model), str(path), dtype, show)
    return path


def one_b():
    """Returns the GGUF file of the 1B model with seeded weights, made once. OSError."""
    path = folder() / "seeded-1b-q4_0.gguf"
    if path.exists():
        return path
    need = weight_bytes(ONE_B, "q4_0")
    if shutil.disk_usage(path.parent).free < 3 * need or 0 < free_bytes() < 4 * need:
        raise OSError(f"{4 * need / 1e9:.1f} GB of memory and {3 * need / 1e9:.1f} of disk needed")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".seeded-") as work:
        part = Path(work) / path.name
        write_gguf(part, ONE_B, "q4_0")
        os.replace(part, path)
    return path


def contests(model, engines):
    """Returns the Contests of a GGUF file's model. engines: Engines, which starts them."""
    side = partial(remote, engines)
    path_of = {dtype: partial(variant, model, dtype) for dtype in DECODE}
    out = []
    for dtype, by_threads in DECODE.items():
        for threads, target in by_threads.items():
            out.append(_decode(side, f"decode/{dtype}/{threads}t", path_of[dtype], threads, target,
                               read=READ_SHARE if dtype == "q4_0" else None))  # fmt: skip
    for dtype, (llama, ik) in PROMPT.items():
        for threads in (1, 2):
            sides = {name: _prompt(side, name, path_of[dtype]) for name in (OURS, IK, LLAMA)}
            out.append(Contest(f"prompt/{dtype}/{threads}t", "tok", N_PROMPT, sides,
                               {LLAMA: Target(llama), IK: Target(ik)}, threads=threads, weight=2,
                               **_COMMON))  # fmt: skip
    out += _one_b(side) + _avx2(side, path_of["q4_0"]) + _own(side, path_of)
    return out


_COMMON = {"warmup": 1, "sample_ns": SAMPLE_NS}


def _token(side, engine, path, n_before=N_BEFORE, **spec):
    n_ctx = 2048 if n_before > N_CTX else N_CTX
    return side(engine, path, work="decode", n_before=n_before, n_ctx=n_ctx, **spec)


def _prompt(side, engine, path, **spec):
    return side(engine, path, work="prompt", n_prompt=N_PROMPT, n_ctx=N_PROMPT, **spec)


def _decode(side, key, path, threads, target, read=None, weight=1):
    """Decoding beside the peers, and beside reading the weights and doing nothing."""
    sides = {name: _token(side, name, path) for name in (OURS, IK, LLAMA)}
    targets = {LLAMA: Target(target)}
    sides[READ] = side(OURS, path, work="read")
    if read:
        targets[READ] = read
    return Contest(key, "tok", 1, sides, targets, threads=threads, weight=weight, **_COMMON)


def _one_b(side):
    contest = _decode(side, "1b/decode/q4_0/2t", one_b, 2, 1.3, READ_SHARE, weight=2)
    return [contest]


def _avx2(side, path):
    """Both without AVX-512: ours by its mask, llama.cpp by how it was built."""
    from kernel_llm import _abi

    out = []
    for threads in (1, 2):
        for work, open_side, per in (("decode", _token, 1), ("prompt", _prompt, N_PROMPT)):
            sides = {OURS: open_side(side, OURS, path, cpu=_abi.KLLM_CPU_AVX2),
                     AVX2: open_side(side, AVX2, path)}  # fmt: skip
            out.append(Contest(f"avx2/{work}/q4_0/{threads}t", "tok", per, sides,
                               {AVX2: AVX2_TARGETS[work]}, threads=threads,
                               **_COMMON))  # fmt: skip
    return out


def _own(side, path_of):
    """Ours beside itself."""
    q4_0 = path_of["q4_0"]

    def token(path=q4_0, **spec):
        return _token(side, OURS, path, **spec)

    def own(key, first, second, target, per=1, threads=1, **fields):
        names = list(first) + list(second)
        return Contest(f"own/{key}", "tok", per, {**first, **second}, {names[1]: target},
                       threads=threads, **_COMMON, **fields)  # fmt: skip

    rows = []
    for threads in (1, 2):
        rows.append(own(f"q4_0-f32/{threads}t", {"q4_0": token()}, {"f32": token(path_of["f32"])},
                        Target(3), threads=threads))  # fmt: skip
    rows += [
        own(f"far/{kv}", {"position 0": token(n_before=0, kv=kv)},
            {f"position {N_FAR}": token(n_before=N_FAR, kv=kv)}, Target(1.35, is_most=True))
        for kv in ("f16", "q8_0")
    ]  # fmt: skip
    rows.append(own("kv", {"q8_0 cache": token(n_before=N_FAR, kv="q8_0")},
                    {"f16 cache": token(n_before=N_FAR, kv="f16")}, Target(1)))  # fmt: skip
    for work, open_side, per, least in (
        ("decode", _token, 1, 1.7),
        ("prompt", _prompt, N_PROMPT, 1.8),
    ):
        sides = [
            {name: open_side(side, OURS, q4_0, threads=n)}
            for name, n in (("2 threads", 2), ("1 thread", 1))
        ]
        rows.append(own(f"threads/{work}", *sides, Target(least), per, threads=2))
    rows.append(Contest("own/open", "op", 1, {OURS: side(OURS, q4_0, work="open")},
                        seconds_target=OPEN_S, warmup=3))  # fmt: skip
    return rows


def resident(model, engines):
    """
    Returns {"grown", "image", "plan"} in bytes of a process that opens and computes. BuildError.
    """
    process = engines.start(OURS)
    try:
        answer = process.ask({"resident": {"path": str(variant(model, "q4_0")), "threads": 2,
                                           "n_ctx": 2048, "n_batch": 64}})  # fmt: skip
    finally:
        process.close()
    if "error" in answer:
        raise BuildError(answer["error"])
    return answer
