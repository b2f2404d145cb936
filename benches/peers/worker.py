# SPDX-License-Identifier: Apache-2.0
"""
One engine of a contest in a process of its own: `python -m benches.peers.worker MODULE [FOLDER]`.

MODULE is kernel_llm, llama_cpp or ik_llama_cpp; it is taken from FOLDER where one is given.
Requests and answers as in remote.py; the first line it writes says its version.
"""

import ctypes
import importlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benches.run import pinned
from kernel_llm.errors import KllmError

IDLE_S = 0.01  # the threads of an engine spin for a while behind the work: not in others' time
N_BATCH = 512


def read_anew(path):
    """Drops a file from the system's cache, where its past decides how large its pages are."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def tokens_of(n, n_vocab):
    """Returns n tokens, the same for every engine."""
    return [int(i) for i in np.random.default_rng(1).integers(0, n_vocab, n)]


def decode_run(session, n_before, n_ctx):
    """Returns run(loops): tokens one by one, the first of them after n_before others."""
    tokens = tokens_of(n_ctx, session.n_vocab)
    for first in range(0, n_before, N_BATCH):
        session.prefill(tokens[first : min(first + N_BATCH, n_before)])

    def run(loops):
        while loops > 0:
            n = min(loops, n_ctx - n_before)
            session.cut(n_before)
            for i in range(n_before, n_before + n):
                session.step(tokens[i])
            loops -= n

    return run


def prompt_run(session, n_prompt):
    """Returns run(loops): a prompt into an empty sequence."""
    tokens = tokens_of(n_prompt, session.n_vocab)

    def run(loops):
        for _ in range(loops):
            session.cut(0)
            for first in range(0, n_prompt, N_BATCH):
                session.prefill(tokens[first : first + N_BATCH])

    return run


def work_run(session, spec):
    if spec["work"] == "decode":
        return decode_run(session, spec["n_before"], spec["n_ctx"])
    return prompt_run(session, spec["n_prompt"])


class Ours:
    """The engine of this tree."""

    def __init__(self):
        import kernel_llm

        self.version = kernel_llm.__version__
        self.info = ""

    def open(self, spec):
        """Returns (run(loops), what is worth telling)."""
        if spec["work"] == "open":
            return self._opening(spec), ""
        if spec["work"] == "read":
            return self._reading(spec), ""
        return work_run(_OurSession(spec), spec), ""

    def _opening(self, spec):
        from kernel_llm.model import Model
        from kernel_llm.opening import open_image

        image = open_image(spec["path"])
        path = image.path
        image.close()

        def run(loops):
            for _ in range(loops):
                Model(open_image(path), threads=spec["threads"]).close()

        return run

    def _reading(self, spec):
        """Reads as many bytes as a token's weights have, as fast as the C library compares."""
        threads = spec["threads"]
        half = weight_bytes(spec["path"]) // (2 * threads)
        buffers = [np.ones(2 * half, np.uint8) for _ in range(threads)]
        compare = ctypes.CDLL(None).memcmp  # called without Python's lock
        compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        pool = ThreadPoolExecutor(threads)

        def read(buffer, loops):
            start = buffer.ctypes.data
            for _ in range(loops):
                compare(start, start + half, half)

        def run(loops):
            for done in [pool.submit(read, buffer, loops) for buffer in buffers]:
                done.result()

        return run

    def resident(self, spec):
        """Returns the bytes that opening and computing added to the process, and their parts."""
        prompt, tokens = tokens_of(64, 256), tokens_of(32, 256)  # numpy is not the engine's
        before = _resident_bytes()
        session = _OurSession(spec)
        session.prefill(prompt)
        for token in tokens:
            session.step(token)
        model = session.model
        return {"grown": _resident_bytes() - before, "image": model.image.n_bytes,
                "plan": model.plan.n_bytes}  # fmt: skip


class _OurSession:
    """Our model, called as a Session of llama.py is."""

    def __init__(self, spec):
        import kernel_llm
        from kernel_llm.opening import open_image

        image = open_image(spec["path"])
        image.close()
        read_anew(image.path)
        options = {k: spec[k] for k in ("kv", "cpu", "n_batch") if k in spec}
        self.model = kernel_llm.open(spec["path"], n_ctx=spec["n_ctx"], threads=spec["threads"],
                                     **{"n_batch": N_BATCH, **options})  # fmt: skip
        self.n_vocab = self.model.n_vocab
        self.prefill = self.model.prefill
        self.step = self.model.step

    def cut(self, n_keep):
        self.model.reset(0, n_keep)


class Llama:
    """llama.cpp or ik_llama.cpp, each work with the settings that serve it best."""

    def __init__(self, module):
        from benches.peers import llama

        self._llama = llama
        self._library = llama.Library(module)
        self.version, self.info = self._library.version, self._library.info
        self._best = {}  # {(path, work): setting}

    def open(self, spec):
        if spec["work"] == "tokenize":
            encode = self._llama.tokenizer(self._library, spec["path"])
            text = spec["text"].encode()

            def run(loops):
                for _ in range(loops):
                    encode(text)

            return run, ""

        def session(setting):
            read_anew(spec["path"])
            return self._llama.Session(self._library, spec["path"], spec["n_ctx"], N_BATCH,
                                       spec["threads"], **setting)  # fmt: skip

        place = spec["path"], spec["work"]
        if place not in self._best:
            n_try = 8 if spec["work"] == "decode" else 1

            def prepare(opened):
                run = work_run(opened, spec)
                return lambda loops: run(loops * n_try)

            self._best[place] = self._llama.best_setting(self._library, session, prepare)
        setting = self._best[place]
        opened = session(setting)
        run = work_run(opened, spec)
        run.close = opened.close
        chosen = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in setting.items())
        return run, chosen.replace("_", " ")


def weight_bytes(path):
    """Returns the bytes of weights that one token reads: every matrix once."""
    from kernel_llm.opening import open_image

    image = open_image(path)
    n_bytes = sum({off: n for *_, off, n in image.tensors()}.values())
    image.close()
    return n_bytes


def _resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def serve(engine, requests, answer):
    """Answers requests until they end; {"resident": spec} gives the bytes of Ours.resident."""
    probes = []
    answer({"version": engine.version, "info": engine.info})
    for line in requests:
        request = json.loads(line)
        if "open" in request:
            spec = request["open"]
            try:
                run, note = engine.open(spec)
            except Exception as error:  # a peer may fail in any way; it is only told
                answer({"error": f"{type(error).__name__}: {error}"})
                continue
            probes.append((run, spec))
            answer({"probe": len(probes) - 1, "note": note})
        elif "burst" in request:
            answer({"ns": _burst(*probes[request["burst"]], request)})
        elif "resident" in request:
            try:
                answer(engine.resident(request["resident"]))
            except (KllmError, OSError) as error:
                answer({"error": str(error)})
        else:
            for run, _ in probes:
                getattr(run, "close", lambda: None)()
            probes.clear()
            answer({})


def _burst(run, spec, request):
    loops, clock, taken = request["loops"], time.perf_counter_ns, []
    with pinned(spec["threads"] == 1):
        if loops and spec["work"] in ("decode", "read"):
            run(1)  # what others have put into the caches since
        for _ in range(request["discard"] + request["n"]):
            start = clock()
            run(loops)
            taken.append(clock() - start)
    time.sleep(IDLE_S)
    return taken[request["discard"] :]


def main():
    module, *folder = sys.argv[1:]
    sys.path[:0] = folder
    importlib.invalidate_caches()
    out = sys.stdout
    sys.stdout = sys.stderr  # what an engine prints must not look like an answer

    def answer(data):
        out.write(json.dumps(data) + "\n")
        out.flush()

    serve(Ours() if module == "kernel_llm" else Llama(module), sys.stdin, answer)


if __name__ == "__main__":
    main()
