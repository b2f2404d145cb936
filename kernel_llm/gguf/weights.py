"""GGUF weights as NumPy arrays: read, decoded, encoded, checked. CPython only."""

import os

import numpy as np

from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE
from kernel_llm.errors import KllmError
from kernel_llm.gguf.fields import fail
from kernel_llm.gguf.types import DTYPES

F32, F16, Q4_0, Q4_1, Q8_0, BF16 = 0, 1, 2, 3, 8, 30
SUPPORTED = (F32, F16, BF16, Q4_0, Q4_1, Q8_0)

# d and, for Q4_1, m of a block are 16-bit floats in front of the quants.
_SCALES = {Q4_0: 1, Q4_1: 2, Q8_0: 1}
STEP_BYTES = 1 << 22  # what is read at a time, about


class WeightFile:
    """
    The bytes of a GGUF file, read where they are asked for; a context manager.

    Reading and not mapping: of a file that somebody cuts off meanwhile, a read tells, where a
    mapping ends the process.

    n_bytes: GGUF.n_bytes; KllmError FORMAT if the file has another size by now. Raises OSError.
    """

    def __init__(self, path, n_bytes):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (close is the caller's)
        self._state = self._stat()
        if self._state[0] != n_bytes:
            self.close()
            text = "file size: %d bytes, %d when it was read" % (self._state[0], n_bytes)
            raise KllmError(KLLM_ERR_FORMAT, text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the file."""
        self._file.close()

    def _stat(self):
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns

    def read(self, off, n_bytes):
        """Returns n_bytes at off as a uint8 array; KllmError FORMAT if they are not there."""
        data = os.pread(self._file.fileno(), n_bytes, off)
        if len(data) != n_bytes:
            fail(KLLM_ERR_FORMAT, "file", off, "it became shorter while it was read")
        return np.frombuffer(data, np.uint8)

    def slabs(self, off, n_bytes, step):
        """Yields (offset from off, bytes) in steps of step bytes."""
        for first in range(0, n_bytes, step):
            yield first, self.read(off + first, min(step, n_bytes - first))

    def check_unchanged(self):
        """Raises KllmError FORMAT if somebody wrote to the file since it was opened."""
        if self._stat() != self._state:
            raise KllmError(KLLM_ERR_FORMAT, "file: it changed while it was read")


def _blocks(data, dtype):
    return np.frombuffer(data, np.uint8).reshape(-1, DTYPES[dtype][2])


def _nibbles(quants):
    """Returns [n][32] values 0..15 of [n][16] bytes: low nibbles, then high nibbles."""
    return np.concatenate([quants & 15, quants >> 4], axis=1).astype(np.float32)


def decode(data, dtype):
    """
    Returns the float32 values of whole blocks, flat, in order. New memory.

    data: bytes or uint8 array. dtype: one of SUPPORTED.
    """
    if dtype == F32:
        return np.frombuffer(data, "<f4").copy()
    if dtype == F16:
        return np.frombuffer(data, "<f2").astype(np.float32)
    if dtype == BF16:
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = _blocks(data, dtype)
    n_scale = _SCALES[dtype]
    scales = blocks[:, : 2 * n_scale].copy().view("<f2").astype(np.float32)
    quants = blocks[:, 2 * n_scale :]
    if dtype == Q8_0:
        values = quants.view(np.int8).astype(np.float32) * scales
    elif dtype == Q4_0:
        values = (_nibbles(quants) - np.float32(8)) * scales
    else:
        values = _nibbles(quants) * scales[:, :1] + scales[:, 1:]
    return values.reshape(-1)


def _inverse(d):
    """Returns 1 / d, or 0 where that does not fit: the block then is all zeros."""
    fits = abs(d) > np.float32(2.0**-128)
    return np.where(fits, 1 / np.where(fits, d, np.float32(1)), np.float32(0))


def _join(scales, quants):
    heads = [scale.astype("<f2").view(np.uint8) for scale in scales]
    return np.concatenate([*heads, quants], axis=1)


def _pack_nibbles(quants):
    quants = quants.astype(np.uint8).clip(0, 15)
    return quants[:, :16] | quants[:, 16:] << 4


def encode(values, dtype):
    """
    Returns float32 values as bytes of a tensor type, by ggml's reference formulas.

    values: finite; a multiple of 32 for block types. dtype: F32, F16, Q4_0, Q4_1 or Q8_0.
    Returns a flat uint8 array. A value that float16 cannot hold becomes infinite: see `fits`.
    """
    values = np.ascontiguousarray(values, np.float32).reshape(-1)
    with np.errstate(over="ignore"):
        if dtype == F32:
            return values.astype("<f4").view(np.uint8)
        if dtype == F16:
            return values.astype("<f2").view(np.uint8)
        x = values.reshape(-1, 32)
        half = np.float32(0.5)
        if dtype == Q8_0:
            d = abs(x).max(axis=1, keepdims=True) / np.float32(127)
            scaled = x * _inverse(d)
            whole = np.trunc(abs(scaled).astype(np.float64) + 0.5)  # exact: halves away from zero
            quants = np.copysign(whole, scaled).astype(np.int8).view(np.uint8)
            return _join([d], quants).reshape(-1)
        if dtype == Q4_0:
            largest = np.take_along_axis(x, abs(x).argmax(axis=1, keepdims=True), axis=1)
            d = largest / np.float32(-8)
            quants = np.trunc(x * _inverse(d) + np.float32(8.5))
            return _join([d], _pack_nibbles(quants)).reshape(-1)
        low = x.min(axis=1, keepdims=True)
        d = (x.max(axis=1, keepdims=True) - low) / np.float32(15)
        quants = np.trunc((x - low) * _inverse(d) + half)
        return _join([d, low], _pack_nibbles(quants)).reshape(-1)


def _bad_index(data, dtype):
    """Returns the byte index of the first float in data that is not finite, or -1."""
    if dtype in (F32, F16, BF16):
        bits, exponent = (
            (np.frombuffer(data, "<u4"), 0x7F800000)
            if dtype == F32
            else (np.frombuffer(data, "<u2"), 0x7C00 if dtype == F16 else 0x7F80)
        )
        bad = (bits & exponent) == exponent
        return int(bad.argmax()) * bits.itemsize if bad.any() else -1
    n_scale = _SCALES[dtype]
    scales = _blocks(data, dtype)[:, : 2 * n_scale].copy().view("<u2")
    bad = ((scales & 0x7C00) == 0x7C00).reshape(-1)
    if not bad.any():
        return -1
    block, idx = divmod(int(bad.argmax()), n_scale)
    return block * DTYPES[dtype][2] + 2 * idx


def scan(file, tensors):
    """
    Checks that every weight and every block scale is finite. Reads all their bytes.

    file: a WeightFile. tensors: Tensors or Sources; types other than SUPPORTED are passed over.
    Raises KllmError FORMAT naming the tensor and the byte.
    """
    for tensor in tensors:
        if tensor.dtype not in SUPPORTED:
            continue
        block_bytes = DTYPES[tensor.dtype][2]
        step = STEP_BYTES // block_bytes * block_bytes
        for first, data in file.slabs(tensor.off, tensor.n_bytes, step):
            bad = _bad_index(data, tensor.dtype)
            if bad >= 0:
                field = "tensor %r data" % tensor.name
                fail(KLLM_ERR_FORMAT, field, tensor.off + first + bad, "not a finite number")


def check_fits(values, dtype, name):
    """Raises KllmError RANGE if a tensor's values cannot be encoded: infinite, or past float16."""
    limit = {F32: 3.5e38, F16: 65519.0, Q8_0: 65519.0 * 127, Q4_0: 65519.0 * 8}[dtype]
    top = float(abs(values).max()) if values.size else 0.0
    if not top <= limit:
        text = "tensor %r data: %s does not fit %s" % (name, top, DTYPES[dtype][0])
        raise KllmError(KLLM_ERR_RANGE, text)
