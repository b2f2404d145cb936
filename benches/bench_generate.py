# SPDX-License-Identifier: Apache-2.0
"""Whole models: a token, a prompt, and the parts of a layer."""

import os
from itertools import cycle

import numpy as np

from benches import machine
from benches.declare import Bench, Skipped
from benches.kernels import floats, levels, q8_row, runner, variants, zeros
from benches.seeded import HEAD_DIM, N_VOCAB, SHAPES, seeded_image, weight_bytes, why_not

TARGETS = {"nano": 200e-3, "tiny": 1 / 100, "small": 1 / 40, "medium": 1 / 10, "large": 1 / 2}
# types of weights measured by default; the others with --full
DEFAULT = {"nano": ("f32", "q8_0", "q4_0")}
N_BEFORE = 64  # tokens in the sequence before the measured ones
N_BEFORE_LARGE = 8
N_PROMPT = 32
N_CTX = 256
ANY_CPU = 0xFFFFFFFF
PARTS = ("qkv", "softmax", "output", "ffn")
PART_TARGETS = {"qkv": 1.5e-3, "softmax": 10e-6, "output": 0.5e-3, "ffn": 1e-3}


def declare(selection):
    out = []
    is_emulated = machine.emulator() != (None, None)
    for i, (size, shape) in enumerate(SHAPES.items()):
        for dtype in ("f32", "q8_0", "q4_0"):
            if not selection.full and dtype not in DEFAULT.get(size, ("q4_0",)):
                continue
            key = f"generate/{size}/{dtype}"
            if not any(selection.wants(k) for k in (key, f"{key}/prompt", f"{key}/qkv")):
                continue
            reason = why_not(shape, dtype)
            if size != "nano" and is_emulated:
                reason = "emulated: takes minutes, and the figure says nothing"
            if reason:
                out.append(Skipped(key, reason))
                continue
            out += _model_rows(selection, key, size, dtype, 100 + 4 * i)
            if size == "nano" and dtype != "q8_0":
                out += _parts(selection, key, dtype, 100 + 4 * i)
    if selection.model:
        out += _own_model(selection)
    return out


def cpu_levels(selection):
    """Returns [(level, isa, mask of instruction sets)] of the engine."""
    isas = [isa for isa, _ in variants()["matmul_f32"]]
    isas += [isa for isa, _ in variants()["matmul_f32_q4_0_q8"] if isa not in isas]
    rows = [("scalar", "c", 0)]
    if selection.simd and isas[-1] != "c":
        rows.append(("simd", isas[-1], ANY_CPU))
        if selection.quick or machine.emulator() != (None, None):
            rows.pop(0)  # portable code: seconds a row, emulated minutes
    return rows


def _model_rows(selection, key, size, dtype, order):
    shape = SHAPES[size]
    n_bytes = weight_bytes(shape, dtype)
    n_before = N_BEFORE_LARGE if size in ("medium", "large") else N_BEFORE
    out = []
    for level, isa, cpu in cpu_levels(selection):
        common = {"level": level, "batch": f"model/{size}", "order": order}

        def token(cpu=cpu):
            return decode_runner(seeded_image(size, dtype), cpu, 1, n_before=n_before)

        def prompt(cpu=cpu):
            return prompt_runner(seeded_image(size, dtype), cpu, 1)

        weight = {"nano": 4, "tiny": 4, "small": 6, "medium": 10, "large": 25}[size]
        out.append(
            Bench(f"{key}/{isa}", token, key=key, seconds_target=TARGETS[size], weight=weight,
                  work={"flop": 2 * shape.n_weight, "byte": n_bytes, "foot": n_bytes, "item": 1,
                        "item_name": "token"},
                  explain=f"One token through a seeded llama model of {shape.n_weight / 1e6:.0f}M "
                  f"weights ({shape.n_layer} layers, {shape.n_embd} wide, {shape.n_ff} hidden, "
                  f"{N_VOCAB} tokens) in {dtype}, one thread, after {n_before} tokens. Limit: "
                  f"reading {n_bytes / 1e6:.0f} MB of weights from memory.", **common)
        )  # fmt: skip
        if size == "nano" or selection.full:
            out.append(
                Bench(f"{key}/prompt/{isa}", prompt, key=f"{key}/prompt", weight=weight,
                      work={"flop": 2 * N_PROMPT * shape.n_weight, "item": N_PROMPT,
                            "item_name": "token"},
                      explain=f"A prompt of {N_PROMPT} tokens through the same model at once, one "
                      "thread. Limit: arithmetic, since the weights are read once for all.",
                      **common)
            )  # fmt: skip
    return out


def decode_runner(path, cpu, threads, n_seq=1, n_before=N_BEFORE):
    """Returns run(loops): tokens one by one, the first of each call after n_before others."""
    import kernel_llm

    model = kernel_llm.open(str(path), n_ctx=N_CTX, threads=threads, cpu=cpu, n_seq=n_seq,
                            n_batch=max(64, n_seq))  # fmt: skip
    for seq in range(n_seq):
        model.prefill([(7 * i) % 200 for i in range(n_before)], seq)
    room = N_CTX - n_before
    seqs = list(range(n_seq))

    def run(loops):
        while loops > 0:
            n = min(loops, room)
            for seq in seqs:
                model.reset(seq, n_before)
            if n_seq == 1:
                for i in range(n):
                    model.step(i)
            else:
                for i in range(n):
                    model.eval([i] * n_seq, seqs)
            loops -= n

    run.model = model
    return run


def prompt_runner(path, cpu, threads):
    """Returns run(loops): a prompt of N_PROMPT tokens into an empty sequence."""
    import kernel_llm

    model = kernel_llm.open(str(path), n_ctx=N_CTX, threads=threads, cpu=cpu, n_batch=N_PROMPT)
    prompt = [(7 * i) % 200 for i in range(N_PROMPT)]

    def run(loops):
        for _ in range(loops):
            model.reset()
            model.prefill(prompt)

    run.model = model
    return run


def _parts(selection, key, dtype, order):
    """The parts of a nano layer, on the weights of all six layers in turn."""
    stem = "matmul_f32" if dtype == "f32" else f"matmul_f32_{dtype}_q8"
    soft = levels("softmax_f32", selection)
    out = []
    for i, (level, isa, idx) in enumerate(levels(stem, selection)):
        for part in PARTS:
            if part == "softmax" and (dtype == "f32" or i >= len(soft)):
                continue  # the same whatever the weights are
            kernel = soft[i][2] if part == "softmax" else idx

            def make(part=part, kernel=kernel):
                return _part_runner(dtype, part, kernel)

            out.append(
                Bench(f"{key}/{part}/{isa}", make, key=f"{key}/{part}", level=level,
                      batch="model/nano", order=order + 1, seconds_target=PART_TARGETS[part],
                      work=_part_work(part, dtype),
                      explain="A part of one layer of the nano model, over its six layers in "
                      "turn. qkv: three matrices 384 x 384; softmax: 6 heads over 256 positions; "
                      "output: one matrix 384 x 384; ffn: gate, up and down with 1536 hidden. "
                      "Limit: reading the weights.")
            )  # fmt: skip
    return out


def _part_work(part, dtype):
    shape = SHAPES["nano"]
    d, ff = shape.n_embd, shape.n_ff
    weights = {"qkv": 3 * d * d, "output": d * d, "ffn": 3 * d * ff, "softmax": 0}[part]
    if not weights:
        n = d // HEAD_DIM * N_CTX
        return {"flop": 12 * n, "byte": 8 * n, "foot": 8 * n}
    n_bytes = weight_bytes(shape, dtype) * weights // shape.n_weight
    return {"flop": 2 * weights, "byte": n_bytes, "foot": n_bytes}


def _part_runner(dtype, part, idx):
    from kernel_llm.image import Image

    if part == "softmax":
        rows = [floats(N_CTX, s) for s in range(SHAPES["nano"].n_embd // HEAD_DIM)]
        calls = [runner(idx, row, dims=(N_CTX,), scalars=(0.125,)) for row in rows]
        return _in_turn([calls])
    image = Image(str(seeded_image("nano", dtype)))
    names = {
        "qkv": ("attn_q", "attn_k", "attn_v"),
        "output": ("attn_output",),
        "ffn": ("ffn_gate", "ffn_up", "ffn_down"),
    }[part]
    layers = {}
    for name, _, rows, cols, off, n_bytes in image.tensors():
        layer, _, tensor = name.removeprefix("blk.").partition(".")
        if name.startswith("blk.") and tensor in names:
            weights = _view(image.address + off, n_bytes)
            call = runner(idx, zeros(4 * rows), weights, _input(dtype, cols),
                          dims=(rows, cols, 1, rows))  # fmt: skip
            layers.setdefault(layer, []).append(call)
    run = _in_turn(list(layers.values()))
    run.image = image
    return run


def _in_turn(layers):
    """Returns run(loops): one layer after the other from call to call, each repeating within C."""
    turn = cycle(layers)

    def run(loops):
        for call in next(turn):
            call(loops)

    return run


def _view(address, n_bytes):
    from kernel_llm._native_cffi import ffi

    return np.frombuffer(ffi.buffer(address, n_bytes), np.uint8)


def _input(dtype, n):
    return floats(n) if dtype == "f32" else q8_row(n)


def _own_model(selection):
    """The rows of --model: a token and a prompt, one thread and all."""
    from kernel_llm.opening import open_image
    from kernel_llm.pull import resolve

    image = open_image(resolve(selection.model))
    path, model_hash = image.path, image.model_hash.hex()[:16]
    n_bytes = sum({off: n for *_, off, n in image.tensors()}.values())
    image.close()
    name = os.path.basename(str(selection.model)).removesuffix(".gguf").removesuffix(".kllm")
    out = []
    cores = len(os.sched_getaffinity(0))
    for threads in sorted({1, cores}):
        for level, isa, cpu in cpu_levels(selection):
            if level == "scalar" and threads > 1 and selection.simd:
                continue  # minutes, for a figure nobody compares
            key = f"{name}/{threads}t"
            common = {"level": level, "batch": "model/own", "weight": 15, "threads": threads,
                      "order": 200, "model_hash": model_hash}  # fmt: skip
            explain = (
                f"{selection.model}, sha256 {model_hash}…, {threads} thread(s), after {N_BEFORE} "
                f"tokens. Limit: reading {n_bytes / 1e6:.0f} MB a token."
            )
            out.append(
                Bench(f"{key}/token/{isa}", lambda c=cpu, t=threads: decode_runner(path, c, t),
                      key=f"{key}/token", explain=explain,
                      work={"byte": n_bytes, "foot": n_bytes, "item": 1, "item_name": "token"},
                      **common)
            )  # fmt: skip
            if level == "scalar" and selection.simd:
                continue
            explain = f"{selection.model}: a prompt of {N_PROMPT} tokens, {threads} thread(s)."
            out.append(
                Bench(f"{key}/prompt/{isa}", lambda c=cpu, t=threads: prompt_runner(path, c, t),
                      key=f"{key}/prompt", explain=explain,
                      work={"item": N_PROMPT, "item_name": "token"}, **common)
            )  # fmt: skip
    return out
