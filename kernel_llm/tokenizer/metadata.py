"""
Reads and checks what the metadata of a GGUF file says of its vocabulary. CPython only.

Every function raises KllmError naming the key, and the index where an element is at fault.
"""

import math
import re
from array import array

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.tokenizer.pre_names import PRE_NAMES, pre_names
from kernel_llm.tokenizer.tables import NO_TOKEN, byte_of_char

KEY = "tokenizer.ggml."
RSTRIP = "kernel_llm.rstrip"  # ids of tokens that take the white space after them
LOOKUP_FIRST = "kernel_llm.lookup_first"  # a word that is a token is taken whole; no GGUF key
SPACE_MARK = b"\xe2\x96\x81"  # U+2581, SentencePiece's visible space
BYTE_TOKEN = re.compile(rb"<0x([0-9A-Fa-f]{2})>\Z")

# Tokens that end a turn or a text whatever type the file gives them; the first there is is eot.
TURN_ENDS = (b"<|eot_id|>", b"<|im_end|>", b"<|end|>", b"<end_of_turn>", b"<|endoftext|>",
             b"<|end_of_text|>", b"<EOT>", b"_<EOT>", b"<end_of_utterance>")  # fmt: skip

KINDS = {"gpt2": _abi.KLLM_VOCAB_BPE, "llama": _abi.KLLM_VOCAB_SPM, "t5": _abi.KLLM_VOCAB_UNIGRAM}

# What files of SentencePiece vocabularies without these keys mean.
DEFAULT_IDS = {"gpt2": {}, "llama": {"bos": 1, "eos": 2, "unk": 0},
               "t5": {"eos": 1, "unk": 2, "pad": 0}}  # fmt: skip
SPECIAL_TYPES = (_abi.KLLM_TOKEN_CONTROL, _abi.KLLM_TOKEN_UNKNOWN, _abi.KLLM_TOKEN_USER)


def fail(key, what, code=_abi.KLLM_ERR_FORMAT, idx=None):
    place = key if idx is None else f"{key}[{idx}]"
    raise KllmError(code, f"{place}: {what}")


def _array(metadata, name, kind, n=None, letters=""):
    """
    Returns the array of a key, None if the key is missing.

    kind: the Python type of every element. n: the number of elements it must have.
    letters: the typecodes it may have where it is an array.array.
    """
    key = KEY + name
    if key not in metadata:
        return None
    values = metadata[key]
    if isinstance(values, (str, bytes, bytearray)) or not hasattr(values, "__len__"):
        fail(key, "is not an array")
    if isinstance(values, array):
        if values.typecode not in letters:
            fail(key, f"has elements of the wrong type ({values.typecode})")
    else:
        for idx, value in enumerate(values):
            if not isinstance(value, kind) or isinstance(value, bool):
                fail(key, "is of the wrong type", idx=idx)
    if n is not None and len(values) != n:
        fail(key, f"has {len(values)} elements, tokens has {n}")
    return values


def scalar(metadata, name, kind, default, prefix=KEY):
    key = prefix + name
    if key not in metadata:
        return default
    value = metadata[key]
    if isinstance(value, (bytes, bytearray)) and kind is str:
        value = bytes(value).decode("utf-8", "replace")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        fail(key, "is of the wrong type")
    return value


def read_tokens(metadata):
    """Returns the raw texts of all tokens."""
    tokens = _array(metadata, "tokens", (bytes, bytearray))
    if tokens is None:
        fail(KEY + "tokens", "is missing")
    if not 1 <= len(tokens) <= _abi.KLLM_MAX_VOCAB:
        fail(KEY + "tokens", f"has {len(tokens)} elements", _abi.KLLM_ERR_RANGE)
    return [bytes(token) for token in tokens]


def read_types(metadata, tokens):
    """Returns the type of each token; tokens that plainly end a turn are control tokens."""
    types = _array(metadata, "token_type", int, len(tokens), "i")
    if types is None:
        types = [_abi.KLLM_TOKEN_BYTE if BYTE_TOKEN.match(t) else _abi.KLLM_TOKEN_NORMAL
                 for t in tokens]  # fmt: skip
    for idx, kind in enumerate(types):
        if not 0 <= kind <= _abi.KLLM_TOKEN_BYTE:
            fail(KEY + "token_type", f"{kind} is no token type", idx=idx)
    types = bytearray(list(types))  # of an array, bytearray would take the raw bytes
    for idx, token in enumerate(tokens):
        if token in TURN_ENDS:
            types[idx] = _abi.KLLM_TOKEN_CONTROL
        if not token and types[idx] in (_abi.KLLM_TOKEN_NORMAL, _abi.KLLM_TOKEN_USER):
            fail(KEY + "tokens", "is empty", idx=idx)
        if types[idx] == _abi.KLLM_TOKEN_BYTE and not BYTE_TOKEN.match(token):
            fail(KEY + "tokens", f"{token!r} is no byte token", idx=idx)
    return types


def types_with_strips(types, metadata, tokens):
    """Returns the types with KLLM_TOKEN_RSTRIP where a token takes the white space after it."""
    strips = set(metadata.get(RSTRIP, ()))
    name = scalar(metadata, "name", str, "", "general.").lower()
    if "phi-3" in name or "phi3" in name:  # its GGUF files do not say so
        strips = {idx for idx, kind in enumerate(types) if kind in SPECIAL_TYPES
                  and tokens[idx] not in (b"<unk>", b"<s>", b"<|endoftext|>")}  # fmt: skip
    return bytes([kind | _abi.KLLM_TOKEN_RSTRIP * (idx in strips)
                  for idx, kind in enumerate(types)])  # fmt: skip


def texts_of(tokens, types, is_bpe):
    """Returns what decoding writes for each token."""
    texts = []
    for idx, token in enumerate(tokens):
        if types[idx] == _abi.KLLM_TOKEN_BYTE:
            text = bytes([int(BYTE_TOKEN.match(token)[1], 16)])
        elif types[idx] in SPECIAL_TYPES:
            text = token
        elif is_bpe:
            text = _raw_bytes(token)
        else:
            text = token.replace(SPACE_MARK, b" ")
        if len(text) > _abi.KLLM_MAX_TOKEN_BYTES:
            fail(KEY + "tokens", f"has {len(text)} bytes", _abi.KLLM_ERR_RANGE, idx)
        texts.append(text)
    return texts


def _raw_bytes(token):
    """Returns the bytes that a token of byte-level BPE stands for; itself if it is not of it."""
    try:
        return bytes([byte_of_char[char] for char in token.decode("utf-8")])
    except (KeyError, UnicodeDecodeError):
        return token


def read_special_ids(metadata, tokens, known, model):
    """Returns {name: id} of bos, eos, unk, pad and eot."""
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "eot": "eot"}
    defaults = DEFAULT_IDS[model]
    ids = {}
    for name, long_name in names.items():
        id = scalar(metadata, long_name + "_token_id", int, defaults.get(name, NO_TOKEN))
        if id != NO_TOKEN and not 0 <= id < len(tokens):
            fail(f"{KEY}{long_name}_token_id", f"{id} is not below {len(tokens)}",
                  _abi.KLLM_ERR_RANGE)  # fmt: skip
        ids[name] = id
    if ids["eot"] == NO_TOKEN:
        ids["eot"] = next((known[t] for t in TURN_ENDS if t in known), NO_TOKEN)
    return ids


def read_flags(metadata, ids, is_bpe, add_bos, add_eos):
    """Returns the kllm_vocab_flag bits that the file decides."""
    add_bos = scalar(metadata, "add_bos_token", bool, add_bos)
    add_eos = scalar(metadata, "add_eos_token", bool, add_eos)
    prefix = scalar(metadata, "add_space_prefix", bool, not is_bpe)
    for wanted, name in ((add_bos, "bos"), (add_eos, "eos")):
        if wanted and ids[name] == NO_TOKEN:
            fail(f"{KEY}add_{name}_token", f"is true without {name}_token_id")
    return (_abi.KLLM_VOCAB_ADD_BOS * add_bos | _abi.KLLM_VOCAB_ADD_EOS * add_eos
            | _abi.KLLM_VOCAB_SPACE_PREFIX * (prefix and not is_bpe))  # fmt: skip


def read_merges(metadata, known):
    """Returns {(left id, right id): rank} and the array of what each rank makes."""
    key = KEY + "merges"
    merges = _array(metadata, "merges", (bytes, bytearray))
    if merges is None:
        fail(key, "is missing")
    if len(merges) >= _abi.KLLM_MAX_MERGE:
        fail(key, f"has {len(merges)} elements", _abi.KLLM_ERR_RANGE)
    ranks, made = {}, array("I")
    for rank, merge in enumerate(merges):
        left, space, right = bytes(merge).partition(b" ")
        if not space or not left or not right:
            fail(key, f"{bytes(merge)!r} is not two texts with a space between", idx=rank)
        for text in (left, right, left + right):
            if text not in known:
                fail(key, f"{text!r} is not in the vocabulary", idx=rank)
        pair = known[left], known[right]
        if pair in ranks:
            fail(key, f"{bytes(merge)!r} is there twice", idx=rank)
        ranks[pair] = rank
        made.append(known[left + right])
    return ranks, made


def read_score_ranks(metadata, n_vocab):
    """Returns for each token how many scores are better than its own."""
    key = KEY + "scores"
    scores = _array(metadata, "scores", (float, int), n_vocab, "f")
    if scores is None:
        fail(key, "is missing")
    for idx, score in enumerate(scores):
        if not math.isfinite(score):
            fail(key, "is not finite", idx=idx)
    order = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
    return array("I", [order[score] for score in scores])


def read_values(metadata, n_vocab, types, unk):
    """Returns the scores of unigram tokens; unk's is that of a character that is no token."""
    key = KEY + "scores"
    scores = _array(metadata, "scores", (float, int), n_vocab, "fd")
    if scores is None:
        fail(key, "is missing")
    for idx, score in enumerate(scores):
        if not abs(score) < 1e30:
            fail(key, "is not finite", idx=idx)
    values = array("d", scores)
    plain = [value for value, kind in zip(values, types, strict=True)
             if kind == _abi.KLLM_TOKEN_NORMAL]  # fmt: skip
    values[unk] = min(plain, default=0.0) - 10.0  # as SentencePiece has it
    return values


def read_char_map(metadata):
    """Returns the precompiled character map of a unigram vocabulary, empty if there is none."""
    key = KEY + "precompiled_charsmap"
    values = metadata.get(key, b"")
    if isinstance(values, array) and values.typecode in "bB":
        values = values.tobytes()
    if not isinstance(values, (bytes, bytearray)):
        fail(key, "is no array of bytes")
    values = bytes(values)
    if values and (len(values) < 4 or int.from_bytes(values[:4], "little") > len(values) - 4):
        fail(key, "is shorter than it says")
    return values


def bpe_bytes(known):
    """Returns the token of each byte; a vocabulary may lack some, whose bytes are then dropped."""
    found = array("I", bytes(1024))
    for char, byte in byte_of_char.items():
        found[byte] = known.get(char.encode(), NO_TOKEN)
    return found


def spm_bytes(tokens, types, unk):
    """Returns the token of each byte; all are there, or none and an unknown token."""
    found = array("I", [NO_TOKEN]) * 256
    for idx in reversed(range(len(tokens))):
        if types[idx] == _abi.KLLM_TOKEN_BYTE:
            found[int(BYTE_TOKEN.match(tokens[idx])[1], 16)] = idx
    if all(id == NO_TOKEN for id in found) and unk != NO_TOKEN:
        return found
    for byte, id in enumerate(found):
        if id == NO_TOKEN:
            fail(KEY + "tokens", f"no token <0x{byte:02X}>")
    return found


def read_pre(metadata, pre):
    """Returns the row of PRE_NAMES for the name given, or for the file's."""
    name = scalar(metadata, "pre", str, "default") if pre is None else pre
    if name not in PRE_NAMES:
        fail(KEY + "pre", f"unknown pre-tokenizer {name!r}; known: {', '.join(pre_names())}",
              _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    return PRE_NAMES[name]


def read_model(metadata):
    """Returns the kind of tokenizer, a key of KINDS."""
    model = scalar(metadata, "model", str, None)
    if model is None:
        fail(KEY + "model", "is missing")
    if model not in KINDS:
        fail(KEY + "model", f"unknown tokenizer {model!r}; known: {', '.join(KINDS)}",
              _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    return model
