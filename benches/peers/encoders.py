# SPDX-License-Identifier: Apache-2.0
"""Encoders of text, ours and the peers', made from the vocabulary of one GGUF file."""

import functools
import importlib.util
import os
import tempfile

from benches.peers.models import OURS

FAST = (OURS, "gigatoken")  # the others take minutes for 20 MB
LARGE_TEXT = LARGE_WORK = 1 << 20  # for such texts Tokenizer.encode takes so much

# How each pre-tokenizer cuts text, for libraries that take a regular expression.
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS = {"gpt-2": (False, GPT2), "smollm": (True, GPT2)}


def fast_encoders(path, n_bytes, missing):
    """Returns what encoders returns of those in FAST, for texts of n_bytes cut as GPT-2 does."""
    makers = encoders(path, missing, "gpt-2", FAST)
    if n_bytes >= LARGE_TEXT:
        makers[OURS] = lambda: our_encoder(path, "gpt-2", LARGE_WORK)
    return makers


def encoders(path, missing, pre=None, names=None):
    """
    Returns {name: function without arguments that gives a fresh encode(bytes)}.

    missing: receives {name: why it is left out}. pre: the pre-tokenizer, instead of the file's.
    names: those wanted, all by default.
    """
    vocab = read_vocab(path)
    vocab["pre"] = pre = pre or vocab["pre"]
    out = {OURS: lambda: our_encoder(path, pre)}
    for name, make in (("tokenizers", _tokenizers), ("tiktoken", _tiktoken), ("tokie", _tokie),
                       ("gigatoken", _gigatoken)):  # fmt: skip
        if names is not None and name not in names:
            continue
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
    from kernel_llm.gguf.read import GGUF

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
def tokenizer_of(path, pre=None):
    """Returns our tokenizer of a vocabulary; a model need not come with it."""
    from kernel_llm import Tokenizer

    return Tokenizer.from_file(path, pre)


@functools.lru_cache(maxsize=1)
def _room():
    """Returns room for ids, the same for all encoders, as the peers' allocators keep theirs."""
    from kernel_llm._native_cffi import ffi

    return ffi.new("uint32_t[]", 1 << 25)  # pages that no id is written to cost nothing


def our_encoder(path, pre, work_bytes=None):
    """Our encoder as the suite runs it: into a buffer, no list made, no words kept yet."""
    from kernel_llm import _abi
    from kernel_llm._native_cffi import ffi, lib

    tokenizer = tokenizer_of(path, pre)
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
