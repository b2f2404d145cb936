"""Reads a vocab section: the tables of struct kllm_vocab in kllm.h."""

import struct

from kernel_llm import _abi
from kernel_llm._port import const

NO_TOKEN = const(0xFFFFFFFF)
TOKEN_ID = const(0xFFFFF)
WHOLE = const(1 << 24)  # of a word: its text alone encodes to this one token
_SHORT_BYTES = const(12)
_MASK = const(0xFFFFFFFFFFFFFFFF)
_GOLDEN = const(0x9E3779B97F4A7C15)


def mix(x):
    """Returns the 64-bit hash of a 64-bit number."""
    x = (x * _GOLDEN) & _MASK
    return x ^ (x >> 32)


def word_key(text):
    """Returns (key_lo, key_hi, length field) of a text of 1 byte or more."""
    n_bytes = len(text)
    if n_bytes <= _SHORT_BYTES:
        return int.from_bytes(text[:8], "little"), int.from_bytes(text[8:], "little"), n_bytes
    h = n_bytes
    whole = n_bytes - n_bytes % 8
    for off in range(0, whole, 8):
        h = mix(h ^ int.from_bytes(text[off : off + 8], "little"))
    return mix(h ^ int.from_bytes(text[whole:], "little")), 0, 15


class Vocab:
    """
    The tables of a vocab section that kllm_vocab_check, or who packed it, vouches for.

    data: buffer that begins with the section; kept, not copied.
    Every field of struct kllm_vocab is an attribute.
    """

    def __init__(self, data):
        self.data = data
        for name, (off, kind) in _abi.KLLM_VOCAB[1].items():
            if isinstance(kind, str):
                setattr(self, name, struct.unpack_from(kind, data, off)[0])
        self.is_bpe = self.kind == _abi.KLLM_VOCAB_BPE
        self.specials = [self._u32(self.special_off, i) for i in range(self.n_special)]
        self.users = [self._u32(self.special_off, self.n_special + i) for i in range(self.n_user)]

    def _u32(self, off, idx):
        return struct.unpack_from("<I", self.data, off + 4 * idx)[0]

    def text(self, id):
        """Returns the bytes that decoding writes for a token."""
        start, end = struct.unpack_from("<II", self.data, self.start_off + 4 * id)
        return bytes(self.data[self.text_off + start : self.text_off + end])

    def type(self, id):
        """Returns the kllm_token_type of a token."""
        return self.data[self.type_off + id] & _abi.KLLM_TOKEN_TYPE

    def strips(self, id):
        """Says whether a special token takes the white space after it."""
        return bool(self.data[self.type_off + id] & _abi.KLLM_TOKEN_RSTRIP)

    def score(self, id):
        """Returns the rank of a token's score, 0 for the best (SentencePiece)."""
        return self._u32(self.score_off, id)

    def value(self, id):
        """Returns the score of a token (unigram); of unk that of a character that is no token."""
        return struct.unpack_from("<d", self.data, self.score_off + 8 * id)[0]

    def byte_token(self, byte):
        """Returns the token of a byte, or NO_TOKEN."""
        return self._u32(self.byte_off, byte)

    def made(self, rank):
        """Returns the token that the merge of a rank makes."""
        return self._u32(self.merge_off, rank)

    def _place(self, hash, factor_off, n_bit):
        """Returns the slot of the key that has a hash; of another key if it is not there."""
        hash &= _MASK
        factor = self.data[factor_off + ((hash ^ (hash >> 32)) & ((1 << (n_bit - 2)) - 1))]
        return ((hash * factor) & _MASK) >> (64 - n_bit)

    def find_word(self, text):
        """Returns the token with a text: its id, plus WHOLE if it has that mark; None if none."""
        lo, hi, length = word_key(text)
        i = self._place((mix(lo) + hi) * _GOLDEN, self.word_factor_off, self.word_bits)
        slot_lo, slot_hi, token = struct.unpack_from("<QII", self.data, self.word_off + 16 * i)
        if slot_lo != lo or slot_hi != hi or (token >> 20) & 15 != length:
            return None
        found = token & (TOKEN_ID | WHOLE)
        return found if length < 15 or self.text(found & TOKEN_ID) == text else None

    def find_pair(self, left, right):
        """Returns the rank of the merge of two tokens, None if they do not merge."""
        key = left << 20 | right
        i = self._place(key * _GOLDEN, self.pair_factor_off, self.pair_bits)
        slot = struct.unpack_from("<Q", self.data, self.pair_off + 8 * i)[0]
        return slot & 0xFFFFF if slot >> 20 == key else None

    def class_of(self, code):
        """Returns the class of a character, one of the numbers of tokenizer.pretokenize."""
        block = struct.unpack_from("<H", self.data, self.class_off + 2 * (code // 128))[0]
        return self.data[self.class_off + 2 * _abi.KLLM_CLASS_BLOCKS + 128 * block + code % 128]
