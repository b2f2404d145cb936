"""
The tables of a vocab section, and which tokens their own text encodes to. CPython only.
"""

import struct
from array import array
from itertools import pairwise

from kernel_llm import _abi
from kernel_llm.tokenizer import unicode_data

MASK = (1 << 64) - 1
PLAIN_TYPES = (_abi.KLLM_TOKEN_UNDEFINED, _abi.KLLM_TOKEN_NORMAL)
SHORT_BYTES = 12  # as in native/src/tokenizer/vocab.h
WHOLE = 1 << 24


def _byte_chars():
    """Returns {character: byte} of byte-level BPE, which shows each byte as a character."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    chars = {chr(byte): byte for byte in visible}
    chars.update({chr(256 + i): byte for i, byte in enumerate(hidden)})
    return chars


byte_of_char = _byte_chars()


def mix(x):
    """Returns the 64-bit hash of a 64-bit number; vocab.h has the same."""
    x = x * 0x9E3779B97F4A7C15 & MASK
    return x ^ x >> 32


def word_key(text):
    """Returns the key of a text of 1 byte or more: (key_lo, key_hi, length field)."""
    if len(text) <= SHORT_BYTES:
        lo, hi = struct.unpack("<QI", text.ljust(SHORT_BYTES, b"\0"))
        return lo, hi, len(text)
    h = len(text)
    whole = len(text) // 8 * 8
    for off in range(0, whole, 8):
        h = mix(h ^ int.from_bytes(text[off : off + 8], "little"))
    return mix(h ^ int.from_bytes(text[whole:], "little")), 0, 15


def _table_bits(n):
    """Returns log2 of the slots for n entries: a third to two thirds of them are taken."""
    return max(4, (3 * n // 2).bit_length())


def hash_words(words):
    """Returns (bits, table) of {text: token field without its length}."""
    bits = _table_bits(len(words))
    mask = (1 << bits) - 1
    table = bytearray(16 << bits)
    taken = bytearray(1 << bits)
    for text, token in words.items():
        lo, hi, length = word_key(text)
        i = mix(mix(lo) + hi & MASK) >> (32 - bits) & mask
        while taken[i]:
            i = i + 1 & mask
        taken[i] = 1
        struct.pack_into("<QII", table, 16 * i, lo, hi, token | length << 20)
    return bits, bytes(table)


def hash_pairs(ranks):
    """Returns (bits, table) of {(left, right): rank}."""
    bits = _table_bits(len(ranks))
    mask = (1 << bits) - 1
    table = array("Q", [MASK]) * (1 << bits)
    for (left, right), rank in ranks.items():
        key = left << 20 | right
        i = mix(key) >> (32 - bits) & mask
        while table[i] != MASK:
            i = i + 1 & mask
        table[i] = key << 24 | rank
    return bits, table.tobytes()


def merge_ids(ids, ranks, made):
    """Returns ids after all merges of byte-level BPE: the lowest rank first, then the leftmost."""
    worst = len(made)
    found = [ranks.get(pair, worst) for pair in pairwise(ids)]
    while found:
        rank = min(found)
        if rank == worst:
            break
        i = found.index(rank)
        ids[i : i + 2] = [made[rank]]
        del found[i]
        if i:
            found[i - 1] = ranks.get((ids[i - 1], ids[i]), worst)
        if i < len(found):
            found[i] = ranks.get((ids[i], ids[i + 1]), worst)
    return ids


def merge_whole(texts, known, types, byte_tokens, ranks, made, lookup_first):
    """
    Returns {text: token field} of the tokens that their text alone encodes to.

    known: the lowest id of each token as the file writes it.
    lookup_first: the vocabulary looks whole words up before it merges, so all of them do.
    """
    words = {}
    char_of_byte = {byte: char for char, byte in byte_of_char.items()}
    for id, text in enumerate(texts):
        if types[id] not in PLAIN_TYPES or not text or text in words:
            continue
        if lookup_first:
            whole = known.get("".join([char_of_byte[b] for b in text]).encode()) == id
        else:
            whole = merge_ids([byte_tokens[b] for b in text], ranks, made) == [id]
        if whole:
            words[text] = id | WHOLE
    return words


def _characters(text):
    """Returns the bytes of each character of UTF-8 text; other bytes stand alone."""
    return [c.encode("utf-8", "surrogateescape")
            for c in text.decode("utf-8", "surrogateescape")]  # fmt: skip


def merge_texts(parts, known, scores):
    """Returns parts after all merges of SentencePiece: the best score first, then the leftmost."""
    worst = len(scores)

    def rank(left, right):
        id = known.get(left + right)
        return worst if id is None else scores[id]

    found = [rank(left, right) for left, right in pairwise(parts)]
    while found and min(found) < worst:
        i = found.index(min(found))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
        del found[i]
        if i:
            found[i - 1] = rank(parts[i - 1], parts[i])
        if i < len(found):
            found[i] = rank(parts[i], parts[i + 1])
    return parts


def spm_known(texts, tokens, types):
    """Returns {text: id} of all tokens that text may become."""
    known = {}
    for id, text in enumerate(texts):
        is_user = types[id] == _abi.KLLM_TOKEN_USER
        if b" " in tokens[id] or not text or (is_user and b"\xe2\x96\x81" in text):
            continue  # in text every space is U+2581 by then, and no text holds one itself
        if types[id] in PLAIN_TYPES or is_user:
            known.setdefault(text, id)
    return known


def spm_whole(texts, tokens, types, scores):
    """Returns {text: token field} of all tokens that text may become."""
    known = spm_known(texts, tokens, types)
    return {text: id | WHOLE * (merge_texts(_characters(text), known, scores) == [text])
            for text, id in known.items()}  # fmt: skip


def class_table():
    """Returns (number of blocks, the class table): which class each character is of."""
    runs = [run.split(".") for run in unicode_data.RUNS.split()]
    starts = [int(start, 16) for start, _ in runs] + [0x110000]
    classes = bytearray()
    for (_, number), start, end in zip(runs, starts, starts[1:], strict=False):
        classes += bytes([int(number, 16)]) * (end - start)
    blocks, numbers = {}, array("H")
    for off in range(0, len(classes), _abi.KLLM_CLASS_BLOCK):
        block = bytes(classes[off : off + _abi.KLLM_CLASS_BLOCK])
        numbers.append(blocks.setdefault(block, len(blocks)))
    return len(blocks), numbers.tobytes() + b"".join(blocks)


def section(fields, tables):
    """Returns header and tables as one block; tables are (name of the offset field, bytes)."""
    n_header, layout = _abi.KLLM_VOCAB
    body = bytearray(n_header)
    for name, table in tables:
        body += bytes(-len(body) % _abi.KLLM_ALIGN)
        fields[name] = len(body)
        body += table
    body += bytes(-len(body) % _abi.KLLM_ALIGN)
    fields["n_bytes"] = len(body)
    for name, value in fields.items():
        off, kind = layout[name]
        struct.pack_into(kind, body, off, value)
    return bytes(body)
