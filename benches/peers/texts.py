# SPDX-License-Identifier: Apache-2.0
"""Contests of tokenizers, each made from the vocabulary of one GGUF file."""

import atexit
import functools
import os
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

from benches.declare import UsageError
from benches.peers.contest import Contest, Target, fresh, local, remote, spawned
from benches.peers.encoders import (
    LARGE_WORK,
    encoders,
    fast_encoders,
    our_encoder,
    tokenizer_of,
)
from benches.peers.models import LLAMA, OURS
from benches.peers.worst_text import worst_texts

TARGETS = {"gigatoken": Target(1.25), "tiktoken": Target(4), "tokie": Target(5), LLAMA: Target(30)}
DECODE_BYTES_PER_S = 500e6
CALL_S = 2e-6  # from Python, a short prompt
PROMPT = "The sky is blue because"
N_FRESH = 10  # samples: to make an encoder may take a second, which is not counted
N_PIECES = 6
N_LEAST = 1000  # bytes of a text
N_SOURCE = 20_000_000


def vocab_path(model):
    """Returns the GGUF file of a model's name or path; of the model in the box if not there."""
    from kernel_llm.builtin import builtin_path
    from kernel_llm.pull import MODELS, resolve

    try:
        return resolve(model)
    except OSError:
        if model not in MODELS:
            raise
        return builtin_path()


def sample(path=None):
    """Returns the text of a file, or 300 kB of Python's help texts: English that varies."""
    if path:
        text = Path(path).read_bytes()
        if len(text) < N_LEAST:
            raise UsageError(f"--text {path}: {len(text)} bytes, {N_LEAST} are needed")
        return text
    from pydoc_data import topics

    return "\n".join(topics.topics.values()).encode()[:300_000]


def source_text():
    """Returns up to 20 MB of Python source, that of the standard library."""
    out, n = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts and n < N_SOURCE:
            out.append(path.read_bytes())
            n += len(out[-1])
    return b"".join(out)[:N_SOURCE]


def pieces_of_english(source, n_bytes):
    """Returns a few texts of so many bytes, all different: the docstrings of Python source."""
    english = b"\n".join(re.findall(rb'"""(.+?)"""', source, re.DOTALL))
    n = max(2, min(N_PIECES, len(english) // n_bytes))
    return [english[i * n_bytes : (i + 1) * n_bytes] for i in range(n)]


def contests(path, text, engines, missing):
    """Returns the Contests over a text. engines: Engines. missing: as in encoders."""
    own_missing = {}
    makers = encoders(path, own_missing)
    fast = fast_encoders(path, len(text), missing)
    missing.update({f"{k}, as the model cuts": v for k, v in own_missing.items() if k in fast})
    n_kilo = len(text) // 1000
    llama = remote(
        engines, LLAMA, lambda: path, work="tokenize", text=text.decode("utf-8", "replace")
    )

    def first(key, data, sides, **fields):
        return Contest(f"tokenize/{key}", "MB", len(data) / 1e6, sides, TARGETS, warmup=1,
                       samples=N_FRESH, **fields)  # fmt: skip

    def of_own_process(data):
        return {name: spawned(_worker(name, path, data)) for name in fast}

    english = first(f"first/{n_kilo}k", text, _all_fresh(makers, [text]), weight=2)
    english.sides[LLAMA] = llama
    source = source_text()
    pieces = pieces_of_english(source, len(text))
    warm = _all_fresh(fast, pieces)
    warm[f"{OURS}, 1 MiB"] = fresh(lambda: our_encoder(path, "gpt-2", LARGE_WORK), pieces)
    again = {
        name: local(functools.partial(_repeating, make, text)) for name, make in makers.items()
    }
    return [
        english,
        first(f"gpt-2/{n_kilo}k", text, of_own_process(text)),
        first(f"gpt-2-warm/{n_kilo}k", pieces[0], warm),
        first(f"source/{len(source) // 10**6}M", source, of_own_process(source)),
        Contest(f"tokenize/again/{n_kilo}k", "MB", len(text) / 1e6, again),
        Contest(f"tokenize/decode/{n_kilo}k", "MB", len(text) / 1e6,
                {OURS: local(lambda: _decoding(path, text))},
                seconds_target=len(text) / DECODE_BYTES_PER_S),
        worst(path, text),
        Contest("tokenize/call", "op", 1, {OURS: local(lambda: _calling(path))},
                seconds_target=CALL_S),
    ]  # fmt: skip


def _all_fresh(makers, texts):
    return {name: fresh(make, texts) for name, make in makers.items()}


def _worker(name, path, text):
    """Returns the command that takes a sample of a text in a process of its own."""
    return [sys.executable, "-m", "benches.peers.text_worker", name, str(path), _file_of(text)]


@functools.lru_cache(maxsize=4)
def _file_of(text):
    """Returns the name of a file that holds a text until this process ends."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(text)
    atexit.register(os.unlink, file.name)
    return file.name


def worst(path, text):
    """Returns the Contest of our encoder's first pass over English and over what is slow."""
    texts = worst_texts(len(text))
    sides = {name: fresh(lambda: our_encoder(path, None), [data])
             for name, data in {"English": text, **texts}.items()}  # fmt: skip
    most = Target(10, is_most=True)
    return Contest(f"tokenize/worst/{len(text) // 1000}k", "MB", len(text) / 1e6, sides,
                   dict.fromkeys(texts, most), warmup=1)  # fmt: skip


def _repeating(make, text):
    encode = make()

    def run(loops):
        for _ in range(loops):
            encode(text)

    return run


def _decoding(path, text):
    from kernel_llm._native_cffi import ffi, lib

    tokenizer = tokenizer_of(path)
    ids = ffi.new("uint32_t[]", tokenizer.encode(text))
    out = ffi.new("uint8_t[]", len(text) + 16)
    n_out = ffi.new("uint64_t *")
    section = ffi.from_buffer(tokenizer.vocab.data)
    vocab = ffi.cast("void *", section)

    def run(loops):
        for _ in range(loops):
            lib.kllm_decode(vocab, ids, len(ids), 0, out, len(out), n_out)

    run.section = section
    return run


def _calling(path):
    encode = tokenizer_of(path).encode

    def run(loops):
        for _ in range(loops):
            encode(PROMPT)

    return run
