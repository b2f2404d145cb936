"""The tokenizer of an open model: the C encoder over the vocabulary tables of its image."""

import struct
from array import array

from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm._port import IS_MICROPYTHON
from kernel_llm.errors import KllmError
from tokenizer.stream import StreamDecoder

_FIELDS = _abi.KLLM_VOCAB[1]


def bytes_of(text):
    """
    Returns a str as UTF-8, a buffer as bytes; TypeError for anything else.

    Bytes that a command line could not decode come back as they were.
    """
    if not isinstance(text, str):
        return text if isinstance(text, bytes) else bytes(memoryview(text))
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeError:  # a lone surrogate that no byte stands behind
        return text.encode("utf-8", "surrogatepass")


def _text_of(data):
    """Returns bytes as text, U+FFFD for each longest start of a character that is no UTF-8."""
    if not IS_MICROPYTHON:
        return data.decode("utf-8", "replace")
    decoder = StreamDecoder()
    return decoder.push(data) + decoder.finish()


def id_array(ids):
    """Returns ids as u32[]; KllmError(RANGE) if one is no number of 32 bits."""
    try:
        return array("I", ids)
    except OverflowError:
        pass
    raise KllmError(_abi.KLLM_ERR_RANGE, "an id is negative or above 32 bits")


class Encoder:
    """
    Text to token ids and back.

    vocab: pointer to a vocab section that kllm_vocab_check has accepted.
    """

    def __init__(self, vocab):
        self._vocab = vocab
        self._work = bytearray(_abi.KLLM_ENCODE_WORK_BYTES)
        self._n_out = array("Q", [0])
        self._work_address = native.pointer(self._work)
        self._n_out_address = native.pointer(self._n_out)

    def __getattr__(self, name):
        """Says why the vocabulary is not there."""
        if name == "_vocab":
            raise ValueError("the model of this encoder is closed")
        raise AttributeError(name)

    def close(self) -> None:
        """Lets go of the vocabulary; every other method raises ValueError afterwards."""
        if self._work is not None:
            self._work = None
            del self._vocab

    def special(self, name: str) -> int:
        """Returns the id of a special token, "bos", "eos", "eot" …, or -1."""
        off, kind = _FIELDS[name]
        id = struct.unpack(kind, bytes(native.view(self._vocab + off, 4)))[0]
        return -1 if id == 0xFFFFFFFF else id

    def encode(self, text: str | bytes, special: bool = False, affix: bool = True) -> list[int]:
        """
        Returns the token ids of a text.

        text: str or bytes; invalid UTF-8 is encoded byte by byte.
        special: parse control tokens such as "<|im_start|>"; without it they are plain text.
        affix: put bos before and eos behind where the vocabulary asks for them.
        """
        text = bytes_of(text)
        flags = _abi.KLLM_ENCODE_SPECIAL * special + _abi.KLLM_ENCODE_AFFIX * affix
        ids = array("I", bytes(4 * (len(text) + 8)))  # an id is rarely shorter than a byte
        if self._encode_into(text, flags, ids) == _abi.KLLM_ERR_SPACE:
            ids = array("I", bytes(4 * self._n_out[0]))
            self._encode_into(text, flags, ids)
        return list(ids[: self._n_out[0]])

    def _encode_into(self, text, flags, ids):
        return native.kllm_encode(
            self._vocab, self._work_address, native.pointer(text), len(text), flags,
            native.pointer(ids), len(ids), self._n_out_address)  # fmt: skip

    def decode_bytes(self, ids, special: bool = False, start: bool = False) -> bytes:
        """
        Returns the bytes of token ids.

        special: write control tokens out; without it they give nothing.
        start: the ids begin a text, so the space that encoding puts before it is taken off.
        Raises KllmError(RANGE) if an id is not in the vocabulary.
        """
        flags = _abi.KLLM_DECODE_SPECIAL * special + _abi.KLLM_DECODE_START * start
        ids = id_array(ids)
        text = bytearray(16 * len(ids) + 16)
        for _ in range(2):
            status = native.kllm_decode(
                self._vocab, native.pointer(ids), len(ids), flags, native.pointer(text), len(text),
                self._n_out_address)  # fmt: skip
            if status != _abi.KLLM_ERR_SPACE:
                break
            text = bytearray(self._n_out[0])
        if status != 0:
            raise KllmError(status, "a token id is past the end of the vocabulary")
        return bytes(text[: self._n_out[0]])

    def decode(self, ids, special: bool = False, start: bool = True) -> str:
        """Returns the text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return _text_of(self.decode_bytes(ids, special, start))
