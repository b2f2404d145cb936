"""Packs a GGUF file into a model image; docs/image.md says what lies where. CPython only."""

import hashlib
import struct
import zlib

import numpy as np

from kernel_llm import _abi, chat
from kernel_llm import _native as native
from kernel_llm.errors import KllmError, naming
from kernel_llm.files import HUGE_PAGE_BYTES, atomic_write, check_apart
from kernel_llm.gguf.hyper import hyper_parameters
from kernel_llm.gguf.read import GGUF
from kernel_llm.gguf.weights import STEP_BYTES, WeightFile, scan
from kernel_llm.layout import GROUP, align, pack_rows
from kernel_llm.tokenizer.section import pack_vocab

_HEADER_BYTES, _FIELDS = _abi.KLLM_IMAGE
_TENSOR_BYTES = _abi.KLLM_TENSOR[0]
_HYPER_FIELDS = (
    "arch", "n_layer", "n_embd", "n_head", "n_head_kv", "head_dim", "n_rot", "n_ff", "n_vocab",
    "n_ctx_train", "rope", "norm_eps", "attn_scale",
)  # fmt: skip
_BF16 = 30
_QUANTIZED = (_abi.KLLM_Q4_0, _abi.KLLM_Q4_1, _abi.KLLM_Q8_0)
_F32_SLOTS = (_abi.KLLM_T_POS_EMBD,)


def _image_dtype(slot, source):
    """Returns the type a tensor has in the image: vectors and positions are f32, exactly."""
    if source.rows == 1 or slot in _F32_SLOTS or source.dtype == _BF16:
        if source.dtype in _QUANTIZED:
            text = f"tensor '{source.name}' is quantised; it must be of floats"
            raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, text)
        return _abi.KLLM_F32
    return source.dtype


class _Layout:
    """Where everything of an image goes, from the headers of a GGUF file alone."""

    def __init__(self, gguf, pre=None):
        self.hyper = hyper = hyper_parameters(gguf)
        try:
            self.vocab = pack_vocab(gguf.metadata, pre)
        except KllmError as error:
            raise gguf.fields.located(error) from None
        self.name = str(gguf.metadata.get("general.name", "")).encode("utf-8", "replace")[:64]
        template = gguf.metadata.get("tokenizer.chat_template", "")
        self.chat = chat.recognise(template if isinstance(template, str) else "")
        self.vocab_off = align(_HEADER_BYTES + _TENSOR_BYTES * len(hyper.sources))
        self.weights_off = align(self.vocab_off + len(self.vocab))
        self.entries = []  # (offset, bytes, dtype, rows, cols) of each slot, or None
        self.writes = []  # (source or "rope", offset, bytes, dtype), without doubles
        self.n_bytes = self.weights_off
        placed = {}
        for slot, source in enumerate(hyper.sources):
            if slot == _abi.KLLM_T_ROPE and hyper.rope != _abi.KLLM_ROPE_NONE:
                self._place("rope", _abi.KLLM_F32, hyper.n_ctx_train, hyper.n_rot)
            elif source is None:
                self.entries.append(None)
            elif source.off in placed:
                self.entries.append(self.entries[placed[source.off]])
            else:
                placed[source.off] = slot
                self._place(source, _image_dtype(slot, source), source.rows, source.cols)

    def _place(self, source, dtype, rows, cols):
        n_bytes = native.kllm_tensor_bytes(dtype, rows, cols)
        self.entries.append((self.n_bytes, n_bytes, dtype, rows, cols))
        self.writes.append((source, self.n_bytes, n_bytes, dtype))
        self.n_bytes += align(n_bytes)

    def table(self):
        """Returns the bytes of the tensor table."""
        absent = (0, 0, _abi.KLLM_NONE, 0, 0)
        return b"".join(struct.pack("<QQIIII", *(entry or absent), 0) for entry in self.entries)

    def header(self, model_hash=bytes(32), body_crc=0):
        """Returns the 256 header bytes."""
        hyper = self.hyper
        values = {
            "magic": _abi.KLLM_IMAGE_MAGIC,
            "layout": _abi.KLLM_IMAGE_LAYOUT,
            "n_bytes": self.n_bytes,
            "model_hash": model_hash,
            "table_crc": zlib.crc32(self.table()),
            "body_crc": body_crc,
            "tensors_off": _HEADER_BYTES,
            "vocab_off": self.vocab_off,
            "vocab_bytes": len(self.vocab),
            "weights_off": self.weights_off,
            "n_tensors": len(self.entries),
            "chat": self.chat,
            "name": self.name.decode("utf-8", "ignore").encode(),
        }
        values.update({name: getattr(hyper, name) for name in _HYPER_FIELDS})
        raw = bytearray(_HEADER_BYTES)
        for name, value in values.items():
            off, kind = _FIELDS[name]
            if isinstance(value, bytes):
                raw[off : off + len(value)] = value
            else:
                struct.pack_into(kind, raw, off, value)
        off, kind = _FIELDS["header_crc"]
        struct.pack_into(kind, raw, off, zlib.crc32(raw[:off]))
        return bytes(raw)


def plan_image(path):
    """Returns (header, size in bytes) of the image a GGUF file would become; reads no weights."""
    with naming(path):
        layout = _Layout(GGUF(path))
    return layout.header(), layout.n_bytes


def _rope_slabs(hyper):
    """Yields f32 [n_ctx_train][n_rot / 2][2] in slabs: cos and sin, computed in double."""
    half = np.arange(hyper.n_rot // 2, dtype=np.float64)
    frequency = hyper.rope_scale * hyper.rope_base ** (-2.0 * half / hyper.n_rot)
    if hyper.rope_factors is not None:
        frequency = frequency / np.asarray(hyper.rope_factors, np.float64)
    for first in range(0, hyper.n_ctx_train, 4096):
        pos = np.arange(first, min(first + 4096, hyper.n_ctx_train), dtype=np.float64)
        angle = pos[:, None] * frequency
        yield np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype("<f4")


def _tensor_slabs(data, source, dtype):
    """Yields the packed bytes of a tensor in slabs of whole groups of rows."""
    row_bytes = source.n_bytes // source.rows
    step = max(1, STEP_BYTES // (row_bytes * GROUP)) * GROUP
    for _, slab in data.slabs(source.off, source.n_bytes, step * row_bytes):
        if dtype in _QUANTIZED:
            yield pack_rows(slab, dtype, slab.size // row_bytes, source.cols)
        elif source.dtype == _abi.KLLM_F16 and dtype == _abi.KLLM_F32:
            yield slab.view("<f2").astype("<f4")
        elif source.dtype == _BF16:
            yield (slab.view("<u2").astype("<u4") << 16).view("<f4")
        else:
            yield slab


def _file_hash(data, n_bytes):
    sha = hashlib.sha256()
    for _, part in data.slabs(0, n_bytes, STEP_BYTES):
        sha.update(part)
    return sha.digest()


def pack(path, output, progress, pre=None):
    """
    Packs a GGUF file into an image.

    path: the GGUF file. output: the image; replaced in one step when it is whole.
    progress: show_progress of progress.py. pre: name of a pre-tokenizer, instead of the file's.

    Raises KllmError saying what is wrong with the file and where, or OSError (a full disk, no
    permission); whatever was at output before is then still there.
    """
    check_apart(output, path)
    with naming(path):
        gguf = GGUF(path)
        layout = _Layout(gguf, pre)
        with (
            WeightFile(path, gguf.n_bytes) as data,
            progress(f"packing {output.name}") as show,
            atomic_write(output) as image,
        ):
            _write(layout, data, gguf.n_bytes, image, show)
            data.check_unchanged()


def _write(layout, data, n_file, image, show):
    """Writes an image of a WeightFile of n_file bytes: the body, then what tells its checksum."""
    scan(data, [source for source, *_ in layout.writes if source != "rope"])
    crc = 0
    done = 0

    def write(chunk):
        nonlocal crc, done
        chunk = memoryview(chunk).cast("B")
        begin = 0
        while begin < len(chunk):  # the file's buffer is flushed when it is full: by whole pages
            end = begin + HUGE_PAGE_BYTES - (layout.vocab_off + done + begin) % HUGE_PAGE_BYTES
            image.write(chunk[begin:end])
            begin = end
        crc = zlib.crc32(chunk, crc)
        done += len(chunk)
        show(done, layout.n_bytes)

    image.write(bytes(layout.vocab_off))
    write(layout.vocab + bytes(layout.weights_off - layout.vocab_off - len(layout.vocab)))
    for source, off, n_bytes, dtype in layout.writes:
        if source == "rope":
            slabs = _rope_slabs(layout.hyper)
        else:
            slabs = _tensor_slabs(data, source, dtype)
        for slab in slabs:
            write(np.ascontiguousarray(slab).reshape(-1))
        assert off + n_bytes == layout.vocab_off + done
        write(bytes(align(n_bytes) - n_bytes))
    image.seek(0)
    image.write(layout.header(_file_hash(data, n_file), crc) + layout.table())
