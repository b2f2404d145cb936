# SPDX-License-Identifier: Apache-2.0
"""Contests of tokenizers, each made from the vocabulary of one GGUF file."""

import functools
import importlib.util
import os
import sysconfig
import tempfile
from pathlib import Path

from benches.contest import Contest, Target, fresh, local, remote
from benches.peers_models import LLAMA, OURS
from benches.worst_text import worst_texts

TARGETS = {"gigatoken": Target(1.25), "tiktoken": Target(4), "tokie": Target(5), LLAMA: Target(30)}
DECODE_BYTES_PER_S = 500e6
CALL_S = 2e-6  # from Python, a short prompt
PROMPT = "The sky is blue because"
N_FRESH = 10  # samples: to make an encoder may take a second, which is not counted
N_SOURCE = 20_000_000
LARGE_WORK = 1 << 20  # what Tokenizer.encode takes for a text as large
FAST = (OURS, "gigatoken")  # of 20 MB: the others would take minutes

# How each pre-tokenizer cuts text, for libraries that take a regular expression.
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS = {"gpt-2": (False, GPT2), "smollm": (True, GPT2)}


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
        return Path(path).read_bytes()
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


def contests(path, text, engines, missing):
    """Returns the Contests over a text. engines: Engines. missing: as in encoders."""
    own_missing = {}
    makers = encoders(path, own_missing)
    gpt2_makers = encoders(path, missing, pre="gpt-2")
    missing.update(
        {f"{k}, as the model cuts": v for k, v in own_missing.items() if k in gpt2_makers}
    )
    n_kilo = len(text) // 1000
    llama = remote(
        engines, LLAMA, lambda: path, work="tokenize", text=text.decode("utf-8", "replace")
    )

    def first(key, data, makers, **fields):
        sides = {name: fresh(make, data) for name, make in makers.items()}
        return Contest(f"tokenize/{key}", "MB", len(data) / 1e6, sides, TARGETS, warmup=1,
                       samples=N_FRESH, **fields)  # fmt: skip

    english = first(f"first/{n_kilo}k", text, makers, weight=2)
    english.sides[LLAMA] = llama
    source = source_text()
    fast = {name: gpt2_makers[name] for name in FAST if name in gpt2_makers}
    fast[OURS] = lambda: _ours(path, "gpt-2", LARGE_WORK)
    again = {
        name: local(functools.partial(_repeating, make, text)) for name, make in makers.items()
    }
    return [
        english,
        first(f"gpt-2/{n_kilo}k", text, gpt2_makers),
        first(f"source/{len(source) // 10**6}M", source, fast, weight=2),
        Contest(f"tokenize/again/{n_kilo}k", "MB", len(text) / 1e6, again),
        Contest(f"tokenize/decode/{n_kilo}k", "MB", len(text) / 1e6,
                {OURS: local(lambda: _decoding(path, text))},
                seconds_target=len(text) / DECODE_BYTES_PER_S),
        worst(path, text),
        Contest("tokenize/call", "op", 1, {OURS: local(lambda: _calling(path))},
                seconds_target=CALL_S),
    ]  # fmt: skip


def worst(path, text):
    """Returns the Contest of our encoder's first pass over English and over what is slow."""
    texts = worst_texts(len(text))
    sides = {name: fresh(lambda: _ours(path, None), data)
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

    tokenizer = _tokenizer_of(path)
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
    encode = _tokenizer_of(path).encode

    def run(loops):
        for _ in range(loops):
            encode(PROMPT)

    return run


def encoders(path, missing, pre=None):
    """
    Returns {name: function without arguments that gives a fresh encode(bytes)}.

    missing: receives {name: why it is left out}. pre: the pre-tokenizer, instead of the file's.
    """
    vocab = read_vocab(path)
    vocab["pre"] = pre = pre or vocab["pre"]
    out = {OURS: lambda: _ours(path, pre)}
    for name, make in (("tokenizers", _tokenizers), ("tiktoken", _tiktoken), ("tokie", _tokie),
                       ("gigatoken", _gigatoken)):  # fmt: skip
        needs = (name,) if name == "tiktoken" else (name, "tokenizers")
        absent = [n for n in needs if importlib.util.find_spec(n) is None]
        if absent:
            missing[name] = f"{absent[0]} is not installed"
        elif pre not in PATTERNS:
            missing[name] = f"no twin of the pre-tokenizer {pre}"
        else:
            try:
                make(vocab)(b"a text")
            except Exception as error:  # a peer may refuse a vocabulary in any way
                missing[name] = str(error).splitlines()[0]
            else:
                out[name] = lambda make=make: make(vocab)
    return out


def read_vocab(path):
    """Returns {"pre", "tokens", "merges", "special"} of a GGUF file; texts as str."""
    from kernel_llm.gguf import GGUF

    metadata = GGUF(str(path)).metadata
    get = metadata.get
    tokens = [bytes(t).decode("utf-8", "replace") for t in metadata["tokenizer.ggml.tokens"]]
    types = get("tokenizer.ggml.token_type") or [1] * len(tokens)
    pre = get("tokenizer.ggml.pre", b"")
    return {
        "pre": pre.decode() if isinstance(pre, bytes) else pre,
        "tokens": tokens,
        "merges": [bytes(m).decode() for m in get("tokenizer.ggml.merges", [])],
        "special": [t for t, kind in zip(tokens, types, strict=True) if kind == 3],
    }


@functools.lru_cache(maxsize=2)
def _tokenizer_of(path, pre=None):
    """Returns our tokenizer of a vocabulary; a model need not come with it."""
    from kernel_llm.tokenizer import Tokenizer

    return Tokenizer.from_file(path, pre)


@functools.lru_cache(maxsize=1)
def _room():
    """Returns room for ids, the same for all encoders, as the peers' allocators keep theirs."""
    from kernel_llm._native_cffi import ffi

    return ffi.new("uint32_t[]", 1 << 25)  # pages that no id is written to cost nothing


def _ours(path, pre, work_bytes=None):
    """Our encoder as the suite runs it: into a buffer, no list made, no words kept yet."""
    from kernel_llm import _abi
    from kernel_llm._native_cffi import ffi, lib

    tokenizer = _tokenizer_of(path, pre)
    work_bytes = work_bytes or _abi.KLLM_ENCODE_WORK_BYTES
    work = ffi.new("char[]", work_bytes)
    lib.kllm_encode_size(work, work_bytes)
    ids = _room()
    room = len(ids)
    n_out = ffi.new("uint64_t *")
    section = ffi.from_buffer(tokenizer.vocab.data)
    vocab = ffi.cast("void *", section)

    def encode(text):
        if len(text) > room:
            raise ValueError(f"a text of at most {room} bytes")
        status = lib.kllm_encode(
            vocab, work, ffi.from_buffer(text), len(text), 0, ids, room, n_out
        )
        if status != 0:
            raise ValueError(f"the encoder returned {status}")
        return n_out[0]

    encode.section = section
    return encode


def hf_tokenizer(vocab):
    """Returns the vocabulary as a tokenizers.Tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    ids = {token: i for i, token in reversed(list(enumerate(vocab["tokens"])))}
    merges = [tuple(m.split(" ", 1)) for m in vocab["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    split_digits, _ = PATTERNS[vocab["pre"]]
    steps = [pre_tokenizers.Digits(individual_digits=True)] if split_digits else []
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if split_digits else steps[0]
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _tokenizers(vocab):
    tokenizer = hf_tokenizer(vocab)
    return lambda text: len(tokenizer.encode(text.decode(), add_special_tokens=False).ids)


def _tiktoken(vocab):
    import tiktoken

    from benches.seeded import byte_chars

    byte_of_char = byte_chars()

    def raw(token):
        return bytes(byte_of_char[c] for c in token)

    special = set(vocab["special"])
    ranks = {}
    for token in vocab["tokens"]:  # single bytes first, then in the order of the merges
        if token not in special and len(token) == 1 and token in byte_of_char:
            ranks.setdefault(raw(token), len(ranks))
    for merge in vocab["merges"]:
        ranks.setdefault(raw(merge.replace(" ", "", 1)), len(ranks))
    split_digits, pattern = PATTERNS[vocab["pre"]]
    if split_digits:
        pattern = pattern.replace(r" ?\p{N}+", r"\p{N}").replace(r"'(?", r"\p{N}|'(?", 1)
    encoding = tiktoken.Encoding("gguf", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text.decode()))


def _tokie(vocab):
    import tokie

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        hf_tokenizer(vocab).save(path)
        tokenizer = tokie.Tokenizer.from_json(path)
    return lambda text: len(tokenizer.encode_bytes(text))


def _gigatoken(vocab):
    import gigatoken

    from benches.seeded import byte_chars

    # It wants every byte as a token; some vocabularies lack those that no text has.
    lacking = sorted(set(byte_chars()) - set(vocab["tokens"]))
    tokenizer = gigatoken.Tokenizer(hf_tokenizer({**vocab, "tokens": vocab["tokens"] + lacking}))
    return lambda text: len(tokenizer.encode(text))
