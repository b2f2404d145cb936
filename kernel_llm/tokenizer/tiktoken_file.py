"""
Vocabularies in tiktoken files, as the metadata of a GGUF file. CPython only.
"""

import base64
import binascii

from kernel_llm import _abi
from kernel_llm.tokenizer.metadata import KEY, LOOKUP_FIRST
from kernel_llm.tokenizer.pre_names import PRE_NAMES, pre_names
from kernel_llm.tokenizer.tables import byte_of_char
from kernel_llm.tokenizer.tokenizer_json import fail, with_tokens

_CHAR_OF_BYTE = {byte: char for char, byte in byte_of_char.items()}


def read_tiktoken(data, pre, specials=None):
    """
    Returns the GGUF metadata of a tiktoken file: a line for each token, base64 and rank.

    pre: name of the pre-tokenizer, which these files do not hold. specials: {text: id}.
    """
    if pre not in PRE_NAMES:
        what = "a tiktoken file does not say it: give one" if pre is None else (
            f"unknown pre-tokenizer {pre!r}")  # fmt: skip
        fail("pre", f"{what}; known: {', '.join(pre_names())}", _abi.KLLM_ERR_UNSUPPORTED)
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            text, rank = line.split()
            ranks[base64.b64decode(text, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            fail(f"line {number}", "is not base64 and a rank")
        if not 0 <= int(rank) < _abi.KLLM_MAX_VOCAB:
            fail(f"line {number}", f"{int(rank)} is no rank", _abi.KLLM_ERR_RANGE)
    texts = [None] * (1 + max([*ranks.values(), *(specials or {}).values()], default=-1))
    for text, rank in ranks.items():
        texts[rank] = "".join([_CHAR_OF_BYTE[byte] for byte in text])
    metadata = {
        KEY + "model": b"gpt2", KEY + "pre": pre.encode(), KEY + "add_bos_token": False,
        KEY + "merges": _recovered(ranks), LOOKUP_FIRST: True,
    }  # fmt: skip
    with_tokens(metadata, texts, lambda text: _abi.KLLM_TOKEN_NORMAL)
    for text, id in (specials or {}).items():
        metadata[KEY + "tokens"][id] = text.encode()
        metadata[KEY + "token_type"][id] = _abi.KLLM_TOKEN_CONTROL
    return metadata


def _recovered(ranks):
    """
    Returns the merges of {token bytes: rank}, in order of rank.

    Neighbours merge where their bytes together are a token. Within the bytes of one token that
    takes one way, so only the last pair on that way ever makes it, in any text.
    """
    merges = []
    for text, _ in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [text[i : i + 1] for i in range(len(text))]
        while len(parts) > 2:
            found = [ranks.get(parts[i] + parts[i + 1], 1 << 32) for i in range(len(parts) - 1)]
            best = min(found)
            if best == 1 << 32:
                break
            i = found.index(best)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        if len(parts) == 2 and all(part in ranks for part in parts):
            merges.append(" ".join("".join([_CHAR_OF_BYTE[b] for b in p]) for p in parts).encode())
    return merges
