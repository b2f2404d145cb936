"""Encodes a text that comes in pieces, in a fixed space. CPython only."""

from kernel_llm import _abi
from kernel_llm._native_cffi import ffi, lib
from kernel_llm.encoder import bytes_of


class StreamEncoder:
    """
    Text in pieces to the ids of the whole, in KLLM_ENCODE_WORK_BYTES and room for ids.

    Made by Tokenizer.stream_encoder. At most KLLM_STREAM_BYTES of text wait for what follows
    them; docs/tokenizer.md says which texts are cut where the whole is not.
    """

    def __init__(self, tokenizer, flags):
        self._tokenizer = tokenizer  # keeps the vocabulary alive
        self._vocab = tokenizer._vocab
        self._work = ffi.new("char[]", _abi.KLLM_ENCODE_WORK_BYTES)
        self._n_taken = ffi.new("uint64_t *")
        self._n_out = ffi.new("uint64_t *")
        self._room = _abi.KLLM_STREAM_BYTES + 8
        self._ids = ffi.new("uint32_t[]", self._room)
        lib.kllm_encode_start(self._work, flags)

    def push(self, text: str | bytes) -> list[int]:
        """Takes str or bytes; returns the ids that are certain by now, often none."""
        data = bytes_of(text)
        whole = ffi.from_buffer(data)
        pos = 0
        ids = []
        while pos < len(data):
            status = lib.kllm_encode_piece(
                self._vocab, self._work, whole + pos, len(data) - pos, self._n_taken, self._ids,
                self._room, self._n_out)  # fmt: skip
            pos += self._n_taken[0]
            ids += self._taken(status)
        return ids

    def finish(self) -> list[int]:
        """Returns the rest of the ids, and starts anew."""
        while True:
            status = lib.kllm_encode_finish(
                self._vocab, self._work, self._ids, self._room, self._n_out)  # fmt: skip
            if status == 0:
                return self._taken(status)
            self._taken(status)

    def _taken(self, status):
        """Returns the ids that a call gave; none, and more room, where they did not fit."""
        if status == 0:
            return ffi.unpack(self._ids, self._n_out[0])
        self._room = self._n_out[0]
        self._ids = ffi.new("uint32_t[]", self._room)
        return []
