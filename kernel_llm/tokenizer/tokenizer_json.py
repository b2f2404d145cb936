"""
Vocabularies in tokenizer.json files, as the metadata of a GGUF file. CPython only.

What pack_vocab reads from metadata is what stands here; docs/tokenizer.md lists what is accepted.
"""

import base64
import binascii
import json

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.tokenizer import pre_patterns
from kernel_llm.tokenizer.metadata import KEY, LOOKUP_FIRST, RSTRIP
from kernel_llm.tokenizer.pre_names import pre_names


def fail(where, what, code=_abi.KLLM_ERR_FORMAT):
    raise KllmError(code, f"{where}: {what}")


def _get(node, name, kind, where, default=None):
    """Returns node[name], which must be of a type; default where it is missing or null."""
    value = node.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        fail(f"{where}.{name}", "is of the wrong type")
    return value


def read_json(data):
    """
    Returns the GGUF metadata of a tokenizer.json file's bytes.

    Byte-level BPE, SentencePiece BPE with byte fallback, and Unigram are accepted. Raises
    KllmError(UNSUPPORTED) naming the part that is not, KllmError(FORMAT) for what is broken.
    """
    try:
        root = json.loads(data)
    except (ValueError, RecursionError) as error:
        fail("tokenizer.json", f"is no JSON ({error})")
    if not isinstance(root, dict):
        fail("tokenizer.json", "is no object")
    model = _get(root, "model", dict, "tokenizer.json")
    if model is None:
        fail("model", "is missing")
    kind = model.get("type") or ("BPE" if "merges" in model else None)
    if kind is None:
        fail("model.type", "is missing")
    if kind == "Unigram":
        metadata = _unigram(root, model)
    elif kind == "BPE":
        metadata = _bpe(root, model)
    else:
        fail("model.type", f"{kind!r}; known: BPE, Unigram", _abi.KLLM_ERR_UNSUPPORTED)
    _add_tokens(metadata, root)
    _add_affixes(metadata, root)
    return metadata


def _listed(vocab):
    """Returns the texts of {text: id} by id; ids may have gaps, which stay None."""
    most = 2 * len(vocab) + 4096
    texts = [None] * (max(vocab.values(), default=-1) + 1 if vocab else 0)
    for text, id in vocab.items():
        if not isinstance(id, int) or isinstance(id, bool) or not 0 <= id < most:
            fail(f"model.vocab[{text!r}]", f"{id!r} is no id", _abi.KLLM_ERR_RANGE)
        texts[id] = text
    return texts


def _bpe(root, model):
    vocab = _get(model, "vocab", dict, "model", {})
    ids = [id for id in vocab.values() if not isinstance(id, int) or not 0 <= id < 1 << 20]
    if ids or not vocab:
        fail("model.vocab", "has an id that is no id" if ids else "is empty")
    texts = _listed(vocab)
    merges = []
    listed = _get(model, "merges", list, "model")
    if listed is None:
        fail("model.merges", "is missing")
    for idx, merge in enumerate(listed):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(
                isinstance(text, str) for text in pair):  # fmt: skip
            fail(f"model.merges[{idx}]", "is no pair")
        merges.append(pair)
    if _get(model, "byte_fallback", bool, "model", False):
        return _spm(root, model, texts, merges)
    pre = _pre_name(root)
    metadata = {
        KEY + "model": b"gpt2", KEY + "pre": pre, KEY + "add_bos_token": False,
        KEY + "merges": [f"{left} {right}".encode() for left, right in merges],
        LOOKUP_FIRST: bool(_get(model, "ignore_merges", bool, "model", False)),
    }  # fmt: skip
    return with_tokens(metadata, texts, lambda text: _abi.KLLM_TOKEN_NORMAL)


def with_tokens(metadata, texts, type_of):
    """Adds texts, where None is an unused id, and their types."""
    metadata[KEY + "tokens"] = [b"[unused%d]" % id if text is None else text.encode()
                                for id, text in enumerate(texts)]  # fmt: skip
    metadata[KEY + "token_type"] = [
        _abi.KLLM_TOKEN_UNUSED if text is None else type_of(text) for text in texts
    ]
    return metadata


def _spm(root, model, texts, merges):
    """SentencePiece BPE: a merge's rank becomes the score of what it makes."""
    scores = {}
    for rank, (left, right) in enumerate(merges):
        scores.setdefault(left + right, -float(rank))
    unk = model.get("unk_token")

    def type_of(text):
        if text == unk:
            return _abi.KLLM_TOKEN_UNKNOWN
        is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
        return _abi.KLLM_TOKEN_BYTE if is_byte else _abi.KLLM_TOKEN_NORMAL

    lowest = -float(len(merges)) - 1
    metadata = {
        KEY + "model": b"llama", KEY + "add_bos_token": False,
        KEY + "add_space_prefix": _adds_space(root),
        KEY + "scores": [scores.get(text, lowest) for text in texts],
    }  # fmt: skip
    if unk in texts:
        metadata[KEY + "unknown_token_id"] = texts.index(unk)
    for name in ("bos", "eos"):
        metadata.setdefault(f"{KEY}{name}_token_id", 0xFFFFFFFF)
    return with_tokens(metadata, texts, type_of)


def _steps(node, name, field):
    """Returns the parts of a normalizer or pre-tokenizer, which may be a sequence of them."""
    part = _get(node, name, dict, "tokenizer.json")
    if part is None:
        return []
    steps = part.get(field, []) if part.get("type") == "Sequence" else [part]
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        fail(name, "is no list of steps")
    return steps


def _adds_space(root):
    for step in _steps(root, "normalizer", "normalizers"):
        if step.get("type") == "Prepend":
            return True
    for step in _steps(root, "pre_tokenizer", "pretokenizers"):
        if step.get("type") == "Metaspace":
            return step.get("prepend_scheme", "always") != "never"
    return False


def _pre_name(root):
    """Returns the name of a byte-level pre-tokenizer, recognised by its expressions."""
    for step in _steps(root, "normalizer", "normalizers"):
        # NFC changes no text that is in NFC; the callers' text is taken as it is.
        if step.get("type") not in ("NFC",):
            fail("normalizer", f"{step.get('type')!r} with byte-level BPE",
                  _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    patterns = []
    for step in _steps(root, "pre_tokenizer", "pretokenizers"):
        kind = step.get("type")
        if kind == "Digits":
            patterns.append(r"\p{N}" if step.get("individual_digits") else r"\p{N}+")
        elif kind == "ByteLevel":
            if step.get("add_prefix_space"):
                fail("pre_tokenizer.add_prefix_space", "is true", _abi.KLLM_ERR_UNSUPPORTED)
            if step.get("use_regex", True):
                patterns.append(pre_patterns.GPT2)
        elif kind == "Punctuation":
            patterns.append(r"[\p{P}\$\+<=>\^~\|`]+")
        elif kind == "Split" and isinstance(step.get("pattern"), dict):
            patterns.append(str(next(iter(step["pattern"].values()), "")))
        else:
            fail("pre_tokenizer", f"{kind!r} is unknown", _abi.KLLM_ERR_UNSUPPORTED)
    name = pre_patterns.name_of(patterns)
    if name is None:
        shown = " then ".join(map(repr, patterns))
        fail("pre_tokenizer", f"cuts text by {shown}, which no name stands for; known: "
              f"{', '.join(pre_names())}", _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    return name.encode()


def _unigram(root, model):
    """Unigram, with SentencePiece's character map and white space."""
    texts, scores = [], []
    for idx, entry in enumerate(_get(model, "vocab", list, "model", [])):
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str) or (
                not isinstance(entry[1], (int, float))):  # fmt: skip
            fail(f"model.vocab[{idx}]", "is no [text, score]")
        texts.append(entry[0])
        scores.append(float(entry[1]))
    unk = model.get("unk_id")
    if not isinstance(unk, int) or not 0 <= unk < len(texts):
        fail("model.unk_id", f"{unk!r} is no id", _abi.KLLM_ERR_RANGE)
    has_bytes = _get(model, "byte_fallback", bool, "model", False)

    def type_of(text):
        is_byte = has_bytes and len(text) == 6 and text.startswith("<0x") and text.endswith(">")
        return _abi.KLLM_TOKEN_BYTE if is_byte else _abi.KLLM_TOKEN_NORMAL

    metadata = {
        KEY + "model": b"t5", KEY + "add_space_prefix": _adds_space(root),
        KEY + "scores": scores, KEY + "unknown_token_id": unk, KEY + "eos_token_id": 0xFFFFFFFF,
        KEY + "padding_token_id": 0xFFFFFFFF, KEY + "add_eos_token": False,
        **_normalizer(root),
    }  # fmt: skip
    with_tokens(metadata, texts, type_of)
    metadata[KEY + "token_type"][unk] = _abi.KLLM_TOKEN_UNKNOWN
    return metadata


def _normalizer(root):
    """Returns the character map of a Unigram file, and whether it takes extra spaces away."""
    found = {KEY + "remove_extra_whitespaces": False}
    for step in _steps(root, "normalizer", "normalizers"):
        kind = step.get("type")
        if kind == "Precompiled":
            try:
                data = base64.b64decode(step.get("precompiled_charsmap") or "", validate=True)
            except (ValueError, TypeError, binascii.Error):
                fail("normalizer.precompiled_charsmap", "is no base64")
            found[KEY + "precompiled_charsmap"] = data
        elif kind == "Replace" and step.get("pattern") == {"Regex": " {2,}"}:
            found[KEY + "remove_extra_whitespaces"] = True
        elif kind not in ("Strip", "Replace", "Prepend"):
            fail("normalizer", f"{kind!r} with Unigram", _abi.KLLM_ERR_UNSUPPORTED)
    for step in _steps(root, "pre_tokenizer", "pretokenizers"):
        if step.get("type") == "WhitespaceSplit":
            found[KEY + "remove_extra_whitespaces"] = True
        elif step.get("type") != "Metaspace":
            fail("pre_tokenizer", f"{step.get('type')!r} with Unigram",
                  _abi.KLLM_ERR_UNSUPPORTED)  # fmt: skip
    return found


def _add_tokens(metadata, root):
    """Adds the added tokens: control tokens where they are special, else user-defined ones."""
    tokens, types = metadata[KEY + "tokens"], metadata[KEY + "token_type"]
    for idx, token in enumerate(_get(root, "added_tokens", list, "tokenizer.json", [])):
        where = f"added_tokens[{idx}]"
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            fail(where, "is no token")
        id = token.get("id")
        if not isinstance(id, int) or not 0 <= id < len(tokens) + 4096:
            fail(where, f"{id!r} is no id", _abi.KLLM_ERR_RANGE)
        while len(tokens) <= id:
            tokens.append(b"[unused%d]" % len(tokens))
            types.append(_abi.KLLM_TOKEN_UNUSED)
            if KEY + "scores" in metadata:
                metadata[KEY + "scores"].append(0.0)
        tokens[id] = token["content"].encode()
        if token.get("rstrip"):
            metadata.setdefault(RSTRIP, set()).add(id)
        if types[id] != _abi.KLLM_TOKEN_UNKNOWN:
            types[id] = _abi.KLLM_TOKEN_CONTROL if token.get("special") else _abi.KLLM_TOKEN_USER


def _add_affixes(metadata, root):
    """Adds bos and eos where the post-processor's template has them around a text."""
    processors = _steps(root, "post_processor", "processors")
    for step in processors:
        if step.get("type") != "TemplateProcessing":
            continue
        known = step.get("special_tokens") or {}
        single = step.get("single") or []
        if not isinstance(known, dict) or not isinstance(single, list):
            fail("post_processor", "is no template")
        names = [part.get("SpecialToken", {}).get("id") for part in single
                 if isinstance(part, dict)]  # fmt: skip
        for name, text in (("bos", names[:1]), ("eos", names[-1:])):
            ids = known.get(text[0], {}).get("ids") if text and text[0] else None
            if ids and isinstance(ids, list):
                metadata[f"{KEY}{name}_token_id"] = ids[0]
                metadata[f"{KEY}add_{name}_token"] = True
