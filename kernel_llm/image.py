"""Reads a packed model image: header, tensor table, and the check before it is trusted."""

import struct

from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm.errors import KllmError

_HEADER_BYTES, _FIELDS = _abi.KLLM_IMAGE
_TENSOR_BYTES, _TENSOR_FIELDS = _abi.KLLM_TENSOR

DTYPE_NAMES = {
    _abi.KLLM_F32: "f32",
    _abi.KLLM_F16: "f16",
    _abi.KLLM_Q4_0: "q4_0",
    _abi.KLLM_Q4_1: "q4_1",
    _abi.KLLM_Q8_0: "q8_0",
}

MODEL_TENSORS = ("token_embd", "pos_embd", "output_norm", "output_norm.bias", "output", "rope")
LAYER_TENSORS = (
    "attn_norm", "attn_norm.bias", "attn_q", "attn_q.bias", "attn_k", "attn_k.bias",
    "attn_v", "attn_v.bias", "attn_output", "attn_output.bias", "ffn_norm", "ffn_norm.bias",
    "ffn_gate", "ffn_up", "ffn_up.bias", "ffn_down", "ffn_down.bias",
)  # fmt: skip


def _place(off, n_bytes):
    """Returns the name of what stands at an offset of an image of n_bytes."""
    if n_bytes < _HEADER_BYTES:
        return "header"
    if off >= _HEADER_BYTES:
        return "tensor table or vocabulary"
    return max([(at, name) for name, (at, _) in _FIELDS.items() if at <= off])[1]


class Image:
    """
    A mapped and checked image.

    path: the .kllm file; it stays mapped until `close`.
    memory: a native.Memory that already holds the image, instead of a path.

    Raises KllmError(FORMAT) naming what is wrong and its byte offset, KllmError(ABI) for an image
    of another layout version, OSError if the file cannot be read.
    """

    def __init__(self, path, memory=None):
        self.path = path
        self._memory = memory or native.Memory(path=path)
        self.address = self._memory.address
        self.n_bytes = self._memory.n_bytes
        bad_off = bytearray(8)
        status = native.kllm_image_check(self.address, self.n_bytes, native.pointer(bad_off))
        if status != 0:
            self.close()
            off = struct.unpack("<Q", bad_off)[0]
            where = "%s: %s at byte %d: not that of an image of %d bytes" % (
                path, _place(off, self.n_bytes), off, self.n_bytes)  # fmt: skip
            if status == _abi.KLLM_ERR_ABI:
                where = "%s is of another layout version; pack it again from its GGUF" % path
            raise KllmError(status, where)

    def __getattr__(self, name):
        """Reads a field of struct kllm_image by its name; set-up only, it allocates."""
        if name == "address":
            raise ValueError("%s is closed" % self.path)
        if name not in _FIELDS:
            raise AttributeError(name)
        off, kind = _FIELDS[name]
        if isinstance(kind, int):
            return bytes(native.view(self.address + off, kind))
        return struct.unpack(kind, native.view(self.address + off, struct.calcsize(kind)))[0]

    def tensors(self):
        """Yields (name, dtype, rows, cols, offset, bytes) of every tensor that is there."""
        for i in range(self.n_tensors):
            entry = native.view(self.address + self.tensors_off + i * _TENSOR_BYTES, _TENSOR_BYTES)
            off, n_bytes, dtype, rows, cols = struct.unpack("<QQIII", bytes(entry)[:28])
            if dtype == _abi.KLLM_NONE:
                continue
            layer, slot = divmod(i - _abi.KLLM_T_MODEL_COUNT, _abi.KLLM_T_LAYER_COUNT)
            if i < _abi.KLLM_T_MODEL_COUNT:
                name = MODEL_TENSORS[i]
            else:
                name = "blk.%d.%s" % (layer, LAYER_TENSORS[slot])
            yield name, DTYPE_NAMES[dtype], rows, cols, off, n_bytes

    def check_body(self):
        """Reads the whole image and compares its checksum; raises KllmError(FORMAT)."""
        status = native.kllm_image_check_body(self.address)
        if status != 0:
            raise KllmError(status, "%s: vocabulary or weights are damaged" % self.path)

    def close(self):
        """Unmaps the image. May be called again; reading a field raises ValueError afterwards."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            del self.address


def is_image(path):
    """Says whether a file starts like a packed image."""
    with open(path, "rb") as file:
        return file.read(4) == struct.pack("<I", _abi.KLLM_IMAGE_MAGIC)


def open_packed(path):
    """Opens a packed image; KllmError says how to make one where there is none or another file."""
    if path is None:
        where = "the built-in model is a GGUF file: `python -m kernel_llm pack -o model.kllm`"
        raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, where)
    if not is_image(path):
        where = "%s is not a packed image; make one with `python -m kernel_llm pack`" % path
        raise KllmError(_abi.KLLM_ERR_FORMAT, where)
    return Image(path)
