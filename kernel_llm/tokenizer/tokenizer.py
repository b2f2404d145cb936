"""
Text to token ids and back at the core's speed, from any vocabulary file. CPython only.

    from kernel_llm import Tokenizer

    tokenizer = Tokenizer.from_file("model.gguf")
    ids = tokenizer.encode("Hello world")
"""

import json
import threading
from array import array
from itertools import accumulate, chain

from kernel_llm import _abi
from kernel_llm._native_cffi import ffi, lib
from kernel_llm._port import cpu_count
from kernel_llm.encoder import bytes_of, id_array
from kernel_llm.errors import KllmError
from kernel_llm.files import atomic_write
from kernel_llm.tokenizer.offsets import offsets_of
from kernel_llm.tokenizer.stream import StreamEncoder
from tokenizer.vocab import Vocab

_ROOM = 4096  # ids a lane can take before it grows
_SPECIAL = (_abi.KLLM_TOKEN_CONTROL, _abi.KLLM_TOKEN_UNKNOWN, _abi.KLLM_TOKEN_USER)
_ROOM_KEPT = 1 << 18
_LARGE_TEXT = 1 << 20  # ids at most, from which a larger work space is worth its memory
_LARGE_WORK = 1 << 20
_GROUP = 1 << 16  # bytes of texts that are encoded by one call


def _groups(texts):
    """Yields lists of texts that follow each other, _GROUP bytes or more but the last."""
    group, n_bytes = [], 0
    for text in texts:
        group.append(text)
        n_bytes += len(text)
        if n_bytes >= _GROUP:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group


class _Lane:
    """What one call of the core needs for itself: work space, ids, their number."""

    def __init__(self):
        self.work_bytes = _abi.KLLM_ENCODE_WORK_BYTES
        self.work = ffi.new("char[]", self.work_bytes)
        self.n_out = ffi.new("uint64_t *")
        self.grow(_ROOM)

    def grow(self, room):
        """Makes room for ids; for those of a large text also for more words that are kept."""
        self.ids = ffi.new("uint32_t[]", room)
        self.room = room
        if room >= _LARGE_TEXT and self.work_bytes < _LARGE_WORK:
            self.work_bytes = _LARGE_WORK
            self.work = ffi.new("char[]", _LARGE_WORK)
            lib.kllm_encode_size(self.work, _LARGE_WORK)


class Tokenizer:
    """
    A vocabulary and its encoder and decoder. Threads may share one.

    section: bytes of a vocab section, as pack_vocab makes it; checked here.
    Raises KllmError(FORMAT) naming the byte offset of what is wrong.
    """

    def __init__(self, section: bytes, _owner=None):
        self._section = section
        self._owner = _owner  # of the memory that section lies in
        self._vocab = ffi.cast("void *", ffi.from_buffer(section))
        bad_off = ffi.new("uint64_t *")
        status = lib.kllm_vocab_check(self._vocab, len(section), bad_off)
        if status != 0:
            raise KllmError(status, f"vocab section, byte {bad_off[0]}")
        self.vocab = Vocab(memoryview(section))
        self._lanes = [_Lane()]

    @classmethod
    def from_file(
        cls, path, pre: str | None = None, specials: dict[str, int] | None = None
    ) -> "Tokenizer":
        """
        Opens the vocabulary of a GGUF file, a packed image, a tokenizer.json or a tiktoken file.

        pre: name of the pre-tokenizer, instead of the file's; tiktoken files need one.
        specials: {text: id} of control tokens to add, tiktoken files only.
        Raises KllmError saying what is wrong and where, or OSError.
        """
        from kernel_llm.tokenizer.read import read_section

        return cls(*read_section(path, pre, specials))

    @property
    def n_vocab(self) -> int:
        """How many tokens there are."""
        return self.vocab.n_vocab

    def special(self, name: str) -> int:
        """Returns the id of "bos", "eos", "unk", "pad" or "eot", or -1."""
        id = getattr(self.vocab, name)
        return -1 if id == 0xFFFFFFFF else id

    def text_of(self, id: int) -> bytes:
        """Returns the bytes of one token; raises KllmError(RANGE) past the vocabulary."""
        if not 0 <= id < self.vocab.n_vocab:
            raise KllmError(_abi.KLLM_ERR_RANGE, f"token {id} is not below {self.vocab.n_vocab}")
        return self.vocab.text(id)

    def is_special(self, id: int) -> bool:
        """Says whether a token is a control, unknown or user-defined one."""
        return self.vocab.type(id) in _SPECIAL

    def encode(
        self, text: str | bytes, special: bool = False, affix: bool = False, offsets: bool = False
    ):
        """
        Returns the token ids of a text.

        text: str or bytes; invalid UTF-8 is encoded byte by byte.
        special: find control tokens in the text; without it they are plain text.
        affix: add bos and eos where the vocabulary asks for them.
        offsets: return (ids, [(start, end)]) instead: where in the text each token comes from, in
        characters of a str, in bytes of bytes.
        """
        if text.__class__ is str:
            try:
                data = text.encode()
            except UnicodeEncodeError:
                data = bytes_of(text)
        else:
            data = bytes_of(text)
        lane = self._lane()
        n_bytes = len(data)
        room = n_bytes + 8
        if room > lane.room:
            lane.grow(room)
        flags = special | affix << 1
        if lib.kllm_encode(self._vocab, lane.work, data, n_bytes, flags, lane.ids, lane.room,
                           lane.n_out) != 0:  # fmt: skip
            lane.grow(lane.n_out[0])
            lib.kllm_encode(self._vocab, lane.work, data, n_bytes, flags, lane.ids, lane.room,
                            lane.n_out)  # fmt: skip
        ids = ffi.unpack(lane.ids, lane.n_out[0])
        if lane.room > _ROOM_KEPT:
            lane.grow(_ROOM)
        self._lanes.append(lane)
        if offsets:
            return ids, offsets_of(self.vocab, text, data, ids, special, affix)
        return ids

    def _lane(self):
        try:
            return self._lanes.pop()
        except IndexError:  # all are at work
            return _Lane()

    def count(self, text: str | bytes, special: bool = False, affix: bool = False) -> int:
        """Returns the number of tokens of a text, without memory for them."""
        data = bytes_of(text)
        lane = self._lane()
        lib.kllm_encode(self._vocab, lane.work, data, len(data), special | affix << 1, lane.ids,
                        0, lane.n_out)  # fmt: skip
        n_id = lane.n_out[0]
        self._lanes.append(lane)
        return n_id

    def encode_batch(
        self, texts, special: bool = False, affix: bool = False, threads: int | None = None
    ) -> list[list[int]]:
        """
        Returns the token ids of each text, by all cores.

        threads: how many take part at most (default: the cores of this process).
        """
        texts = [bytes_of(text) for text in texts]
        groups = list(_groups(texts))
        results = [None] * len(groups)
        waiting = iter(range(len(groups)))
        flags = special | affix << 1

        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    i = next(waiting, None)
                if i is None:
                    return
                results[i] = self._encode_group(groups[i], flags)

        n_thread = min(threads or cpu_count(), len(groups))
        others = [threading.Thread(target=work) for _ in range(n_thread - 1)]
        for thread in others:
            thread.start()
        work()
        for thread in others:
            thread.join()
        return list(chain.from_iterable(results))

    def _encode_group(self, texts, flags):
        """Returns the ids of each text, by one call that leaves the other threads free to run."""
        ends = array("Q", accumulate(map(len, texts)))
        lane = self._lane()
        room = ends[-1] + 8 * len(texts)
        if room > lane.room:
            lane.grow(room)
        n_out = array("Q", ends)
        status = lib.kllm_encode_batch(
            self._vocab, lane.work, b"".join(texts), ffi.from_buffer("uint64_t[]", ends),
            len(ends), flags, lane.ids, lane.room, ffi.from_buffer("uint64_t[]", n_out),
        )  # fmt: skip
        ids = ffi.unpack(lane.ids, n_out[-1]) if status == 0 else []
        if lane.room > _ROOM_KEPT:
            lane.grow(_ROOM)
        self._lanes.append(lane)
        if status != 0:  # more ids than bytes, as SentencePiece may have them
            return [self.encode(text, flags & 1, flags >> 1) for text in texts]
        return [ids[start:end] for start, end in zip([0, *n_out], n_out, strict=False)]

    def stream_encoder(self, special: bool = False, affix: bool = False) -> StreamEncoder:
        """Returns a StreamEncoder: text in pieces, the ids of the whole, a fixed space."""
        return StreamEncoder(self, special | affix << 1)

    def decode_bytes(self, ids, special: bool = False, start: bool = True) -> bytes:
        """
        Returns the bytes of token ids.

        special: write control tokens out; without it they give nothing.
        start: the ids begin a text, so the space that encoding puts before it is taken off.
        Raises KllmError(RANGE) if an id is not in the vocabulary.
        """
        flags = special | start << 1
        held = ffi.from_buffer("uint32_t[]", id_array(ids))
        n_out = ffi.new("uint64_t *")
        room = 16 * len(held) + 16
        while True:
            text = ffi.new("uint8_t[]", room)
            status = lib.kllm_decode(self._vocab, held, len(held), flags, text, room, n_out)
            if status == 0:
                return bytes(ffi.buffer(text, n_out[0]))
            if status != _abi.KLLM_ERR_SPACE:
                raise KllmError(status, f"a token id is not below {self.vocab.n_vocab}")
            room = n_out[0]

    def decode(self, ids, special: bool = False, start: bool = True) -> str:
        """Returns the text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids, special, start).decode("utf-8", "replace")

    def save(self, path) -> None:
        """Writes the vocabulary as tokenizer.json; the file is whole or not there."""
        from kernel_llm.tokenizer.write import to_json

        text = json.dumps(to_json(self.vocab.data), ensure_ascii=False)
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", "surrogatepass"))
