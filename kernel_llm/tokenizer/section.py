"""
Packs a GGUF file's vocabulary into the vocab section of an image. CPython only.

The tables are those of struct kllm_vocab in kllm.h; docs/tokenizer.md explains them.
"""

import math
import re
from array import array

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.tokenizer import unicode_data
from kernel_llm.tokenizer.pre_names import PRE_NAMES, pre_names
from kernel_llm.tokenizer.tables import (
    byte_of_char,
    class_table,
    first_merges,
    hash_pairs,
    hash_words,
    merge_whole,
    section,
    spm_known,
    spm_whole,
)

KEY = "tokenizer.ggml."
RSTRIP = "kernel_llm.rstrip"  # ids of tokens that take the white space after them
LOOKUP_FIRST = "kernel_llm.lookup_first"  # a word that is a token is taken whole; no GGUF key
NO_TOKEN = 0xFFFFFFFF
LEAST_FOR_FIRSTS = 1000  # merges: the table is not worth its 128 KiB for fewer
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


def _fail(key, what, code=_abi.KLLM_ERR_FORMAT, idx=None):
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
        _fail(key, "is not an array")
    if isinstance(values, array):
        if values.typecode not in letters:
            _fail(key, f"has elements of the wrong type ({values.typecode})")
    else:
        for idx, value in enumerate(values):
            if not isinstance(value, kind) or isinstance(value, bool):
                _fail(key, "is of the wrong type", idx=idx)
    if n is not None and len(values) != n:
        _fail(key, f"has {len(values)} elements, tokens has {n}")
    return values


def _scalar(metadata, name, kind, default, prefix=KEY):
    key = prefix + name
    if key not in metadata:
        return default
    value = metadata[key]
    if isinstance(value, (bytes, bytearray)) and kind is str:
        value = bytes(value).decode("utf-8", "replace")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        _fail(key, "is of the wrong type")
    return value


def _tokens(metadata):
    """Returns the raw texts of all tokens."""
    tokens = _array(metadata, "tokens", (bytes, bytearray))
    if tokens is None:
        _fail(KEY + "tokens", "is missing")
    if not 1 <= len(tokens) <= _abi.KLLM_MAX_VOCAB:
        _fail(KEY + "tokens", f"has {len(tokens)} elements", _abi.KLLM_ERR_RANGE)
    return [bytes(token) for token in tokens]


def _types(metadata, tokens):
    """Returns the type of each token; tokens that plainly end a turn are control tokens."""
    types = _array(metadata, "token_type", int, len(tokens), "i")
    if types is None:
        types = [_abi.KLLM_TOKEN_BYTE if BYTE_TOKEN.match(t) else _abi.KLLM_TOKEN_NORMAL
                 for t in tokens]  # fmt: skip
    for idx, kind in enumerate(types):
        if not 0 <= kind <= _abi.KLLM_TOKEN_BYTE:
            _fail(KEY + "token_type", f"{kind} is no token type", idx=idx)
    types = bytearray(list(types))  # of an array, bytearray would take the raw bytes
    for idx, token in enumerate(tokens):
        if token in TURN_ENDS:
            types[idx] = _abi.KLLM_TOKEN_CONTROL
        if not token and types[idx] in (_abi.KLLM_TOKEN_NORMAL, _abi.KLLM_TOKEN_USER):
            _fail(KEY + "tokens", "is empty", idx=idx)
        if types[idx] == _abi.KLLM_TOKEN_BYTE and not BYTE_TOKEN.match(token):
            _fail(KEY + "tokens", f"{token!r} is no byte token", idx=idx)
    return types


def _with_strips(types, metadata, tokens):
    """Returns the types with KLLM_TOKEN_RSTRIP where a token takes the white space after it."""
    strips = set(metadata.get(RSTRIP, ()))
    name = _scalar(metadata, "name", str, "", "general.").lower()
    if "phi-3" in name or "phi3" in name:  # its GGUF files do not say so
        strips = {idx for idx, kind in enumerate(types) if kind in SPECIAL_TYPES
                  and tokens[idx] not in (b"<unk>", b"<s>", b"<|endoftext|>")}  # fmt: skip
    return bytes([kind | _abi.KLLM_TOKEN_RSTRIP * (idx in strips)
                  for idx, kind in enumerate(types)])  # fmt: skip


def _texts(tokens, types, is_bpe):
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
            _fail(KEY + "tokens", f"has {len(text)} bytes", _abi.KLLM_ERR_RANGE, idx)
        texts.append(text)
    return texts


def _raw_bytes(token):
    """Returns the bytes that a token of byte-level BPE stands for; itself if it is not of it."""
    try:
        return bytes([byte_of_char[char] for char in token.decode("utf-8")])
    except (KeyError, UnicodeDecodeError):
        return token


def _special_ids(metadata, tokens, known, model):
    """Returns {name: id} of bos, eos, unk, pad and eot."""
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "eot": "eot"}
    defaults = DEFAULT_IDS[model]
    ids = {}
    for name, long_name in names.items():
        id = _scalar(metadata, long_name + "_token_id", int, defaults.get(name, NO_TOKEN))
        if id != NO_TOKEN and not 0 <= id < len(tokens):
            _fail(f"{KEY}{long_name}_token_id", f"{id} is not below {len(tokens)}",
                  _abi.KLLM_ERR_RANGE)  # fmt: skip
        ids[name] = id
    if ids["eot"] == NO_TOKEN:
        ids["eot"] = next((known[t] for t in TURN_ENDS if t in known), NO_TOKEN)
    return ids


def _flags(metadata, ids, is_bpe, add_bos, add_eos):
    """Returns the kllm_vocab_flag bits that the file decides."""
    add_bos = _scalar(metadata, "add_bos_token", bool, add_bos)
    add_eos = _scalar(metadata, "add_eos_token", bool, add_eos)
    prefix = _scalar(metadata, "add_space_prefix", bool, not is_bpe)
    for wanted, name in ((add_bos, "bos"), (add_eos, "eos")):
        if wanted and ids[name] == NO_TOKEN:
            _fail(f"{KEY}add_{name}_token", f"is true without {name}_token_id")
    return (_abi.KLLM_VOCAB_ADD_BOS * add_bos | _abi.KLLM_VOCAB_ADD_EOS * add_eos
            | _abi.KLLM_VOCAB_SPACE_PREFIX * (prefix and not is_bpe))  # fmt: skip


def _merges(metadata, known):
    """Returns {(left id, right id): rank} and the array of what each rank makes."""
    key = KEY + "merges"
    merges = _array(metadata, "merges", (bytes, bytearray))
    if merges is None:
        _fail(key, "is missing")
    if len(merges) >= _abi.KLLM_MAX_MERGE:
        _fail(key, f"has {len(merges)} elements", _abi.KLLM_ERR_RANGE)
    ranks, made = {}, array("I")
    for rank, merge in enumerate(merges):
        left, space, right = bytes(merge).partition(b" ")
        if not space or not left or not right:
            _fail(key, f"{bytes(merge)!r} is not two texts with a space between", idx=rank)
        for text in (left, right, left + right):
            if text not in known:
                _fail(key, f"{text!r} is not in the vocabulary", idx=rank)
        pair = known[left], known[right]
        if pair in ranks:
            _fail(key, f"{bytes(merge)!r} is there twice", idx=rank)
        ranks[pair] = rank
        made.append(known[left + right])
    return ranks, made


def _score_ranks(metadata, n_vocab):
    """Returns for each token how many scores are better than its own."""
    key = KEY + "scores"
    scores = _array(metadata, "scores", (float, int), n_vocab, "f")
    if scores is None:
        _fail(key, "is missing")
    for idx, score in enumerate(scores):
        if not math.isfinite(score):
            _fail(key, "is not finite", idx=idx)
    order = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
    return array("I", [order[score] for score in scores])


def _values(metadata, n_vocab, types, unk):
    """Returns the scores of unigram tokens; unk's is that of a character that is no token."""
    key = KEY + "scores"
    scores = _array(metadata, "scores", (float, int), n_vocab, "fd")
    if scores is None:
        _fail(key, "is missing")
    for idx, score in enumerate(scores):
        if not abs(score) < 1e30:
            _fail(key, "is not finite", idx=idx)
    values = array("d", scores)
    plain = [value for value, kind in zip(values, types, strict=True)
             if kind == _abi.KLLM_TOKEN_NORMAL]  # fmt: skip
    values[unk] = min(plain, default=0.0) - 10.0  # as SentencePiece has it
    return values


def _char_map(metadata):
    """Returns the precompiled character map of a unigram vocabulary, empty if there is none."""
    key = KEY + "precompiled_charsmap"
    values = metadata.get(key, b"")
    if isinstance(values, array) and values.typecode in "bB":
        values = values.tobytes()
    if not isinstance(values, (bytes, bytearray)):
        _fail(key, "is no array of bytes")
    values = bytes(values)
    if values and (len(values) < 4 or int.from_bytes(values[:4], "little") > len(values) - 4):
        _fail(key, "is shorter than it says")
    return values


def _bpe_bytes(known):
    """Returns the token of each byte; a vocabulary may lack some, whose bytes are then dropped."""
    found = array("I", bytes(1024))
    for char, byte in byte_of_char.items():
        found[byte] = known.get(char.encode(), NO_TOKEN)
    return found


def _spm_bytes(tokens, types, unk):
    """Returns the token of each byte; all are there, or none and an unknown token."""
    found = array("I", [NO_TOKEN]) * 256
    for idx in reversed(range(len(tokens))):
        if types[idx] == _abi.KLLM_TOKEN_BYTE:
            found[int(BYTE_TOKEN.match(tokens[idx])[1], 16)] = idx
    if all(id == NO_TOKEN for id in found) and unk != NO_TOKEN:
        return found
    for byte, id in enumerate(found):
        if id == NO_TOKEN:
            _fail(KEY + "tokens", f"no token <0x{byte:02X}>")
    return found


def _pre(metadata, pre):
    """Returns the row of PRE_NAMES for the name given, or for the file's."""
    name = _scalar(metadata, "pre", str, "default") if pre is None else pre
    if name not in PRE_NAMES:
        _fail(KEY + "pre", f"unknown pre-tokenizer {name!r}; known: {', '.join(pre_names())}",
              _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    return PRE_NAMES[name]


def pack_vocab(metadata, pre=None):
    """
    Returns the vocab section for a GGUF file's metadata.

    metadata: mapping of GGUF keys to Python values; strings in arrays are bytes.
    pre: name of a pre-tokenizer to use instead of the file's.

    Raises KllmError naming the key, and the index where an element is at fault. Where two tokens
    have the same text, text is encoded to the lower id.
    """
    model = _scalar(metadata, "model", str, None)
    if model not in ("gpt2", "llama", "t5"):
        _fail(KEY + "model", "is missing" if model is None else
              f"unknown tokenizer {model!r}; known: gpt2, llama, t5",
              _abi.KLLM_ERR_FORMAT if model is None else _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    is_bpe = model == "gpt2"
    is_unigram = model == "t5"
    pre_id, lookup_first, add_bos = (
        _pre(metadata, pre) if is_bpe else (_abi.KLLM_PRE_NONE, False, not is_unigram)
    )
    lookup_first = metadata.get(LOOKUP_FIRST, lookup_first)
    tokens = _tokens(metadata)
    types = _types(metadata, tokens)
    texts = _texts(tokens, types, is_bpe)
    known = {token: idx for idx, token in reversed(list(enumerate(tokens)))}
    ids = _special_ids(metadata, tokens, known, model)
    if is_unigram and ids["unk"] == NO_TOKEN:
        _fail(KEY + "unknown_token_id", "is missing")
    flags = (
        _flags(metadata, ids, is_bpe, add_bos, is_unigram)
        | _abi.KLLM_VOCAB_WORDS_FIRST * lookup_first
    )

    scores, ranks, made = array("I"), {}, array("I")
    n_class_block, classes, firsts = 0, b"", b""
    if is_bpe:
        ranks, made = _merges(metadata, known)
        byte_tokens = _bpe_bytes(known)
        words = merge_whole(texts, known, types, byte_tokens, ranks, made, lookup_first)
        if len(made) >= LEAST_FOR_FIRSTS:
            firsts = first_merges(tokens, byte_tokens, ranks, made)
            flags |= _abi.KLLM_VOCAB_FIRSTS
        n_class_block, classes = class_table()
    else:
        byte_tokens = _spm_bytes(tokens, types, ids["unk"])
        if is_unigram:
            scores = _values(metadata, len(tokens), types, ids["unk"])
            words = spm_known(texts, tokens, types)
            if _scalar(metadata, "remove_extra_whitespaces", bool, True):
                flags |= _abi.KLLM_VOCAB_FEW_SPACES
        else:
            scores = _score_ranks(metadata, len(tokens))
            words = spm_whole(texts, tokens, types, scores)
        if not any(re.search(b"[^ ] ", text) for text in words):
            flags |= _abi.KLLM_VOCAB_SPACE_SPLITS

    char_map = _char_map(metadata) if is_unigram else b""
    word_bits, word_table, word_factors = hash_words(words)
    pair_bits, pair_table, pair_factors = hash_pairs(ranks)
    special = [i for i in range(len(tokens)) if types[i] in SPECIAL_TYPES and texts[i]]
    special = _lowest_by_text(special, texts)
    user = [i for i in special if types[i] == _abi.KLLM_TOKEN_USER]
    starts = array("I", [0])
    for text in texts:
        starts.append(starts[-1] + len(text))
    fields = {
        "magic": _abi.KLLM_VOCAB_MAGIC, "layout": _abi.KLLM_VOCAB_LAYOUT,
        "kind": KINDS[model], "pre": pre_id, "map_bytes": len(char_map),
        "longest": max(map(len, words), default=0),
        "flags": flags, "n_vocab": len(tokens), "n_merge": len(made), "n_special": len(special),
        "n_user": len(user), "word_bits": word_bits, "pair_bits": pair_bits,
        "n_class_block": n_class_block, "unicode": unicode_data.VERSION * is_bpe,
        "text_bytes": starts[-1], **ids,
    }  # fmt: skip
    return section(fields, [
        ("start_off", starts.tobytes()), ("text_off", b"".join(texts)),
        ("type_off", _with_strips(types, metadata, tokens)), ("byte_off", byte_tokens.tobytes()),
        ("word_off", word_table), ("word_factor_off", word_factors),
        ("pair_off", pair_table), ("pair_factor_off", pair_factors),
        ("merge_off", made.tobytes()), ("first_off", firsts),
        ("score_off", scores.tobytes()), ("special_off", array("I", special + user).tobytes()),
        ("class_off", classes), ("map_off", char_map),
    ])  # fmt: skip


def _lowest_by_text(ids, texts):
    """Returns the ids sorted by their texts, of equal texts the lowest id alone."""
    first = {}
    for id in ids:
        first.setdefault(texts[id], id)
    return [first[text] for text in sorted(first)]
