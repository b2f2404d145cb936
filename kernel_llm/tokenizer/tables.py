"""
The tables of a vocab section, and which tokens their own text encodes to. CPython only.
"""

import struct
from array import array
from itertools import pairwise, product

import numpy as np

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.tokenizer import unicode_data

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
PLAIN_TYPES = (_abi.KLLM_TOKEN_UNDEFINED, _abi.KLLM_TOKEN_NORMAL)
SHORT_BYTES = 12  # as in native/src/tokenizer/vocab.h
WHOLE = 1 << 24
MIN_BITS = 4  # of a hash table
BUCKET_BITS = 2  # a bucket for so many slots
AT_ONCE = 64  # of the slots of a table, so few get their keys at once that these seldom meet
NO_RANK = (1 << 20) - 1
NO_TOKEN = 0xFFFFFFFF


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
    x = x * GOLDEN & MASK
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


def _place(hashes):
    """
    Returns (bits, factors, slots): a table of 1 << bits slots, and each hash's own slot in it.

    hashes: of all keys, 64 bits each. Those of a bucket share a factor, under which their highest
    bits are slots that no other has.
    """
    hashes = np.array(hashes, np.uint64)
    least = max(MIN_BITS, (5 * len(hashes) // 4).bit_length())  # four fifths are taken at most
    for bits in range(least, least + 3):
        placed = _place_in(hashes, bits)
        if placed:
            return bits, *placed
    raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, "tokenizer.ggml.tokens: hashes fall together")


def _place_in(hashes, bits):
    """Returns (factors, slots), None if there is a bucket that no factor suits."""
    n_bucket = 1 << bits - BUCKET_BITS
    buckets = ((hashes ^ hashes >> np.uint64(32)) & np.uint64(n_bucket - 1)).astype(np.int64)
    by_bucket = np.argsort(buckets, kind="stable")
    counts = np.bincount(buckets, minlength=n_bucket)
    starts = np.cumsum(counts) - counts
    factors = np.zeros(n_bucket, np.uint8)
    slots = np.zeros(len(hashes), np.int64)
    is_taken = np.zeros(1 << bits, bool)
    # The fullest first; before them a hash of 0, which has slot 0 under any factor.
    groups = [np.flatnonzero(counts == size) for size in range(counts.max(), 0, -1)]
    if not hashes.all():
        groups = [np.zeros(1, np.int64), *(group[group > 0] for group in groups)]
    for group in groups:
        n_key = counts[group[0]] if len(group) else 1
        n_part = max(1, (1 << bits) // AT_ONCE // n_key)
        for part in (group[i : i + n_part] for i in range(0, len(group), n_part)):
            keys = by_bucket[starts[part][:, None] + np.arange(n_key)]
            if not _fit(hashes, keys, part, bits, is_taken, factors, slots):
                return None
    return factors.tobytes(), slots


def _fit(hashes, keys, buckets, bits, is_taken, factors, slots):
    """
    Finds factors of buckets of one size, and with them slots; returns whether all have one.

    keys: [bucket][which] indices of hashes. A factor is tried for all that have none; of keys that
    fall on one slot the last has it.
    """
    owners = np.zeros(1 << bits, np.int64)
    for factor in range(1, 256):
        places = (hashes[keys] * np.uint64(factor) >> np.uint64(64 - bits)).astype(np.int64)
        is_free = ~is_taken[places].any(axis=1)
        owners[places[is_free]] = keys[is_free]
        fits = is_free & (owners[places] == keys).all(axis=1)
        slots[keys[fits]] = places[fits]
        is_taken[places[fits]] = True
        factors[buckets[fits]] = factor
        keys, buckets = keys[~fits], buckets[~fits]
        if not len(keys):
            return True
    return False


def hash_words(words):
    """Returns (bits, table, factors) of {text: token field without its length}."""
    keys = [(*word_key(text), token) for text, token in words.items()]
    bits, factors, slots = _place([(mix(lo) + hi) * GOLDEN & MASK for lo, hi, _, _ in keys])
    table = bytearray(16 << bits)
    for slot, (lo, hi, length, token) in zip(slots.tolist(), keys, strict=True):
        struct.pack_into("<QII", table, 16 * slot, lo, hi, token | length << 20)
    return bits, bytes(table), factors


def hash_pairs(ranks):
    """Returns (bits, table, factors) of {(left, right): rank}."""
    keys = np.array([left << 20 | right for left, right in ranks], np.uint64)
    bits, factors, slots = _place(keys * np.uint64(GOLDEN))
    table = np.full(1 << bits, MASK, np.uint64)
    table[slots] = keys << np.uint64(20) | np.array(list(ranks.values()), np.uint64)
    return bits, table.tobytes(), factors


def first_merges(tokens, byte_tokens, ranks, made):
    """
    Returns the table of what is known of two ASCII bytes x and y side by side.

    rank << 40 | left << 20 | right, where NO_RANK stands for no merge. rank: of the merge of x and
    y, if what that makes merges later. left: the lowest rank of anything but x that ends in x,
    with y; right: of x with anything but y that begins with y. Of a rank that is left out the
    latter two know, and of a byte without a token they say 0: nothing beside it is certain.
    tokens: as the file writes them.
    """
    byte_of = {id: byte for byte, id in enumerate(byte_tokens)}
    ends = [byte_of_char.get(token.decode("utf-8", "replace")[-1:]) for token in tokens]
    starts = [byte_of_char.get(token.decode("utf-8", "replace")[:1]) for token in tokens]
    first_use = [NO_RANK] * len(tokens)  # the lowest rank of a merge of each token
    for (left, right), rank in ranks.items():
        first_use[left] = min(first_use[left], rank)
        first_use[right] = min(first_use[right], rank)
    pairs, lefts, rights = {}, {}, {}
    for (left, right), rank in ranks.items():
        x, y = byte_of.get(left), byte_of.get(right)
        if x is not None and y is not None and first_use[made[rank]] > rank:
            pairs[x, y] = rank
            continue
        for place, lowest in (((ends[left], y), lefts), ((x, starts[right]), rights)):
            lowest[place] = min(lowest.get(place, NO_RANK), rank)
    table = array("Q")
    for place in product(range(_abi.KLLM_N_ASCII), repeat=2):
        is_certain = byte_tokens[place[0]] != NO_TOKEN != byte_tokens[place[1]]
        left, right = (lowest.get(place, NO_RANK) * is_certain for lowest in (lefts, rights))
        table.append(pairs.get(place, NO_RANK) << 40 | left << 20 | right)
    return table.tobytes()


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
