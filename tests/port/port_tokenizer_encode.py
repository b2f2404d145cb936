"""The twin encodes and decodes over a vocab section made by hand, of a few merges."""

import struct

from kernel_llm import _abi
from tokenizer import Tokenizer, Vocab
from tokenizer.vocab import WHOLE, mix, word_key

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
BITS = 8
FACTOR = 3  # under which no two keys have one slot
MERGES = ((b"t", b"h"), (b"th", b"e"), (b" ", b"the"), (b"a", b"a"), (b"aa", b"aa"))
ASCII = {10: 2, 13: 2, 32: 1, 39: 9, 46: 9}  # class numbers of what is neither letter nor digit


def place(hash):
    """Returns the slot of the key that has a hash."""
    return (hash * FACTOR & MASK) >> (64 - BITS)


def section():
    """Returns the bytes of a section: 256 bytes, what MERGES make, and <|end|>."""
    texts = [bytes([byte]) for byte in range(256)] + [left + right for left, right in MERGES]
    ids = {text: id for id, text in enumerate(texts)}
    texts.append(b"<|end|>")
    end = len(texts) - 1

    words = bytearray(16 << BITS)
    for text in texts[256:end]:
        lo, hi, length = word_key(text)
        i = place((mix(lo) + hi) * GOLDEN)
        assert not struct.unpack_from("<I", words, 16 * i + 12)[0]
        struct.pack_into("<QII", words, 16 * i, lo, hi, ids[text] | length << 20 | WHOLE)
    pairs = bytearray(b"\xff" * (8 << BITS))
    for rank, (left, right) in enumerate(MERGES):
        key = ids[left] << 20 | ids[right]
        i = place(key * GOLDEN)
        assert struct.unpack_from("<Q", pairs, 8 * i)[0] == MASK
        struct.pack_into("<Q", pairs, 8 * i, key << 20 | rank)

    classes = bytearray(3 * 128)  # ASCII, all else, and the block of Latin-1 letters
    for code in range(128):
        if chr(code).isalpha():
            classes[code] = 3 if code < 97 else 4
        else:
            classes[code] = 8 if 48 <= code <= 57 else ASCII.get(code, 0)
    for code in range(0x40, 0x80):
        classes[256 + code] = 4
    blocks = bytearray(2 * _abi.KLLM_CLASS_BLOCKS)
    for i in range(1, _abi.KLLM_CLASS_BLOCKS):
        struct.pack_into("<H", blocks, 2 * i, 2 if i == 1 else 1)

    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    tables = (
        ("start_off", b"".join([struct.pack("<I", start) for start in starts])),
        ("text_off", b"".join(texts)),
        ("type_off", bytes([_abi.KLLM_TOKEN_NORMAL] * end + [_abi.KLLM_TOKEN_CONTROL])),
        ("byte_off", b"".join([struct.pack("<I", byte) for byte in range(256)])),
        ("word_off", bytes(words)),
        ("pair_off", bytes(pairs)),
        ("word_factor_off", bytes([FACTOR]) * (1 << BITS - 2)),
        ("pair_factor_off", bytes([FACTOR]) * (1 << BITS - 2)),
        ("merge_off", b"".join([struct.pack("<I", 256 + i) for i in range(len(MERGES))])),
        ("special_off", struct.pack("<I", end)),
        ("class_off", bytes(blocks) + bytes(classes)),
    )
    fields = {
        "magic": _abi.KLLM_VOCAB_MAGIC, "layout": _abi.KLLM_VOCAB_LAYOUT,
        "kind": _abi.KLLM_VOCAB_BPE, "pre": _abi.KLLM_PRE_GPT2, "n_vocab": len(texts),
        "n_merge": len(MERGES), "n_special": 1, "word_bits": BITS, "pair_bits": BITS,
        "n_class_block": 3, "text_bytes": starts[-1], "bos": end, "eos": end,
        "flags": _abi.KLLM_VOCAB_ADD_BOS,
    }  # fmt: skip
    n_header, layout = _abi.KLLM_VOCAB
    body = b""
    for name, table in tables:
        fields[name] = n_header + len(body)
        body += table + bytes(-len(table) % 8)
    fields["n_bytes"] = n_header + len(body)
    header = bytearray(n_header)
    for name, value in fields.items():
        off, kind = layout[name]
        struct.pack_into(kind, header, off, value)
    return bytes(header) + body


tokenizer = Tokenizer(Vocab(section()))
for text in (
    b"the theme", b"aaaaaaa a", b"it's 42  \n\n x", b"<|end|>the", b"\xff\xc3\xa9\xe4\xb8",
    b"", b"\x00 the\r\n the", "é the 中 🦙 they'll".encode(),
):  # fmt: skip
    for special in (False, True):
        ids = tokenizer.encode(text, special)
        print(text, special, ids)
        assert tokenizer.decode_bytes(ids, True) == text
print(tokenizer.encode("the", False, True))
print(tokenizer.decode(tokenizer.encode(b"the \xff\xe4\xb8 the")) == "the \ufffd\ufffd the")
print(list(tokenizer.stream(tokenizer.encode("é中🦙"))) == ["é", "中", "🦙"])
