# SPDX-License-Identifier: Apache-2.0
"""
The same work done by what one would take instead, in one interleaved run:
`python -m benches.peers [--model MODEL]`.

NumPy for kernels, llama.cpp for a model, tokenizers, tiktoken, tokie and gigatoken for text;
`pip install kernel-llm[peers]`. One thread unless the row says otherwise. A peer that is missing
is named and skipped.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass

# one thread each: the libraries read this when they are loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np

from benches import peers_text, stats, table
from benches.declare import Bench, Selection, collect
from benches.run import Options, Probe, measure, pinned

N = 384
OURS = peers_text.OURS


@dataclass(frozen=True)
class Contest:
    """One piece of work: ours and the peers' benches, whose operation is the same."""

    key: str
    unit: str  # what `per` items of an operation are: "token", "MB"
    per: float
    benches: dict  # {name: Bench}
    note: str = ""


def numpy_contests():
    """dot, matvec and layernorm, as one would write them with NumPy (and its BLAS)."""
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
    best = {b.key: b for b in own}
    return [
        Contest(key, "op", 1, {OURS: best[key], "numpy": _repeated(key, "numpy", call)},
                "numpy's figure holds the call from Python, ours repeats within C")
        for key, call in work.items()
    ]  # fmt: skip


def _repeated(key, name, call, **fields):
    def make():
        def run(loops):
            for _ in range(loops):
                call()

        return run

    return Bench(f"{key}/{name}", make, key=key, **fields)


def model_contests(path, n_prompt, n_token, missing):
    """Prompt and generation on one GGUF file, by one thread and by all."""
    from benches.bench_generate import ANY_CPU

    try:
        import llama_cpp
    except ImportError:
        missing["llama-cpp-python"] = "not installed"
        llama_cpp = None
    cores = len(os.sched_getaffinity(0))
    out = []
    for threads in sorted({1, cores}):
        makers = {OURS: lambda t=threads: _our_model(path, t, n_prompt, n_token, ANY_CPU)}
        if llama_cpp:
            makers["llama.cpp"] = lambda t=threads: _llama(llama_cpp, path, t, n_prompt, n_token)
        for i, (what, n) in enumerate((("prompt", n_prompt), ("generate", n_token))):
            key = f"{what}/{n}/{threads}t"
            benches = {
                name: Bench(f"{key}/{name}", lambda make=make, i=i: make()[i], key=key,
                            threads=threads, weight=20)
                for name, make in makers.items()
            }  # fmt: skip
            out.append(Contest(key, "tok", n, benches))
    return out


def _our_model(path, threads, n_prompt, n_token, cpu):
    import kernel_llm

    model = kernel_llm.open(str(path), n_ctx=n_prompt + n_token, threads=threads, cpu=cpu,
                            n_batch=min(n_prompt, 512))  # fmt: skip
    prompt = _prompt(n_prompt, model.n_vocab)

    def run_prompt(loops):
        for _ in range(loops):
            model.reset()
            model.prefill(prompt)

    def run_generate(loops):
        if model.length() < n_prompt:
            model.prefill(prompt)
        for _ in range(loops):
            model.reset(0, n_prompt)
            for i in range(n_token):
                model.step(prompt[i % n_prompt])

    return run_prompt, run_generate


def _llama(llama_cpp, path, threads, n_prompt, n_token):
    llm = llama_cpp.Llama(
        model_path=str(path), n_ctx=n_prompt + n_token, n_threads=threads,
        n_threads_batch=threads, n_batch=n_prompt, n_ubatch=n_prompt, verbose=False,
    )  # fmt: skip
    prompt = _prompt(n_prompt, llm.n_vocab())

    def run_prompt(loops):
        for _ in range(loops):
            llm.reset()
            llm.eval(prompt)

    def run_generate(loops):
        if llm.n_tokens < n_prompt:
            llm.reset()
            llm.eval(prompt)
        for _ in range(loops):
            llm.n_tokens = n_prompt
            for i in range(n_token):
                llm.eval([prompt[i % n_prompt]])

    return run_prompt, run_generate


def _prompt(n, n_vocab):
    return [int(i) for i in np.random.default_rng(1).integers(0, n_vocab, n)]


def hold(contests, options):
    """Measures contests one after another, their benches interleaved; yields (contest, stats)."""
    for contest in contests:
        probes = [Probe(b, options) for b in contest.benches.values()]
        if not measure([[p] for p in probes], options):
            return
        yield (
            contest,
            {
                name: stats.summary(p.row().values)
                for name, p in zip(contest.benches, probes, strict=True)
            },
        )


def first_passes(encoders, text, n):
    """Times the first encoding of a text by fresh encoders, in turns; {name: [seconds]}."""
    out = {name: [] for name in encoders}
    with pinned(True):
        for _ in range(n):
            for name, make in encoders.items():
                encode = make()
                start = time.perf_counter_ns()
                encode(text)
                out[name].append((time.perf_counter_ns() - start) * 1e-9)
    return {name: stats.summary(values) for name, values in out.items()}


def text_contests(path, text, missing):
    """Returns ({name: factory of encoders}, Contest of repeated passes)."""
    encoders = peers_text.encoders(path, missing)
    key = f"tokenize/again/{len(text) // 1000}k"

    def bench(name, make):
        def made():
            encode = make()

            def run(loops):
                for _ in range(loops):
                    encode(text)

            return run

        return Bench(f"{key}/{name}", made, key=key)

    benches = {name: bench(name, make) for name, make in encoders.items()}
    return encoders, Contest(key, "MB", len(text) / 1e6, benches, "caches are warm")


def lines(contest, found):
    """Yields the text of one contest."""
    ours = found[OURS].median
    for name, s in found.items():
        speed = "" if contest.unit == "op" else f"{contest.per / s.median:10.4g} {contest.unit}/s"
        ratio = "" if name == OURS else f"{s.median / ours:6.2f}x our time"
        yield (
            f"{contest.key:24} {name:14} {table.quantity(s.median):>8} min "
            f"{table.quantity(s.min):>8}{speed:>18}  {ratio}"
        ).rstrip()
    if contest.note:
        yield f"{'':24} {contest.note}"


def main(arguments=None):
    p = argparse.ArgumentParser(prog="python -m benches.peers", description=__doc__)
    p.add_argument("--model", default="", help="GGUF file or pulled name, for llama.cpp and text")
    p.add_argument("--text", help="file to tokenize; Python's own help texts by default")
    p.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    p.add_argument("--tokens", type=int, default=32, help="tokens generated in a sample")
    p.add_argument("--samples", type=int, default=200)
    p.add_argument("--seconds", type=float, default=20.0, help="budget of each piece of work")
    p.add_argument("--only", choices=["kernels", "tokenize", "model"], help="default: all")
    p.add_argument("--json", action="store_true")
    args = p.parse_args(arguments)
    try:
        return _run(args)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"benches.peers: {error}\n")
        return 2


def _run(args):
    from kernel_llm.errors import KllmError

    missing, collected = {}, []
    options = Options(warmup=10, samples=args.samples, seconds=args.seconds)
    contests = numpy_contests() if args.only in (None, "kernels") else []
    encoders = None
    try:
        path = peers_text.gguf_path(args.model)
        text = peers_text.sample(args.text)
        if args.only in (None, "tokenize"):
            encoders, again = text_contests(path, text, missing)
            contests.append(again)
        if args.model and args.only in (None, "model"):
            contests += model_contests(path, args.prompt, args.tokens, missing)
    except KllmError as error:
        missing["model"] = str(error)

    def show(contest, found):
        collected.append({"key": contest.key, "unit": contest.unit, "per": contest.per,
                          "peers": {n: s._asdict() for n, s in found.items()}})  # fmt: skip
        if not args.json:
            for line in lines(contest, found):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()

    if encoders:
        first = Contest(f"tokenize/first/{len(text) // 1000}k", "MB", len(text) / 1e6, {},
                        "a fresh encoder each time: no cache holds the words yet")  # fmt: skip
        show(first, first_passes(encoders, text, 5))
    for contest, found in hold(contests, options):
        show(contest, found)
    if args.json:
        sys.stdout.write(json.dumps({"contests": collected, "missing": missing}) + "\n")
        return 0
    for name, why in missing.items():
        sys.stdout.write(f"skipped: {name}: {why}\n")
    if any("installed" in why for why in missing.values()):
        sys.stdout.write("pip install 'kernel-llm[peers]' brings the peers\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
