"""Reads GGUF files: every count, length, type and offset is bounded before it is used."""

import struct
from array import array

from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE, KLLM_ERR_UNSUPPORTED
from kernel_llm._port import const
from kernel_llm.gguf import types as gt
from kernel_llm.gguf.cursor import Cursor, text_of
from kernel_llm.gguf.fields import Fields, fail

_MIN_KV_BYTES = const(13)
_MIN_TENSOR_BYTES = const(33)


class Tensor:
    """
    Where a tensor lies.

    name: str. dtype: id of types.DTYPES. dims: shape, the row length last (GGUF's reversed).
    off, n_bytes: its bytes in the file. info_off: where the file describes it.
    """

    def __init__(self, name, dtype, dims, off, n_bytes, info_off):
        self.name = name
        self.dtype = dtype
        self.dims = dims
        self.off = off
        self.n_bytes = n_bytes
        self.info_off = info_off

    def __repr__(self):
        return "Tensor(%r, %s, %s)" % (self.name, gt.DTYPES[self.dtype][0], list(self.dims))


class GGUF:
    """
    The metadata and tensor table of a GGUF file, version 2 or 3, little endian.

    source: a path, or a file object open for reading bytes that can seek.

    fields: Fields, the metadata; metadata and types are its dictionaries.
    tensors: list of Tensor in file order; tensor(name) finds one.
    version, alignment, data_off, n_bytes (of the file), trailing_bytes (after the last tensor).

    Raises KllmError FORMAT, UNSUPPORTED or RANGE, naming field and byte offset; OSError.
    Memory is at most a small multiple of the header's bytes; weights are not read.
    """

    def __init__(self, source):
        self.fields = Fields()
        self.metadata = self.fields.values
        self.types = self.fields.types
        self.tensors = []
        self._by_name = {}
        self._source = source
        if hasattr(source, "read"):
            self._read(source)
        else:
            with open(source, "rb") as file:
                self._read(file)

    def _read(self, file):
        self.n_bytes = file.seek(0, 2)
        file.seek(0)
        if self.n_bytes > gt.MAX_FILE_BYTES:
            fail(KLLM_ERR_UNSUPPORTED, "file", 0, "%d bytes cannot be addressed" % self.n_bytes)
        cursor = Cursor(file, min(self.n_bytes, gt.MAX_HEADER_BYTES))
        n_tensor, n_kv = self._read_counts(cursor)
        for idx in range(n_kv):
            self._read_pair(cursor, idx)
        self._read_alignment()
        self._refuse_split()
        for idx in range(n_tensor):
            self._read_tensor(cursor, idx)
        self._place_tensors(cursor.pos)

    def _read_counts(self, cursor):
        magic = cursor.take(4, "magic")
        if magic != b"GGUF":
            swapped = magic == b"FUGG"
            text = "the bytes are swapped" if swapped else "not a GGUF file"
            fail(KLLM_ERR_UNSUPPORTED if swapped else KLLM_ERR_FORMAT, "magic", 0, text)
        version = cursor.number("<I", "version")
        if version and version & 0xFFFF == 0:
            fail(KLLM_ERR_UNSUPPORTED, "version", 4, "a big-endian file")
        if version == 0:
            fail(KLLM_ERR_FORMAT, "version", 4, "0")
        if version not in (2, 3):
            fail(KLLM_ERR_UNSUPPORTED, "version", 4, "%d; 2 and 3 are known" % version)
        self.version = version
        n_tensor = cursor.number("<Q", "n_tensors")
        n_kv = cursor.number("<Q", "n_kv")
        left = cursor.end - cursor.pos
        for field, off, count, min_bytes, limit in (
            ("n_tensors", 8, n_tensor, _MIN_TENSOR_BYTES, gt.MAX_TENSOR),
            ("n_kv", 16, n_kv, _MIN_KV_BYTES, gt.MAX_KV),
        ):
            if count > left // min_bytes:
                fail(KLLM_ERR_FORMAT, field, off, "%d do not fit the file" % count)
            if count > limit:
                fail(KLLM_ERR_RANGE, field, off, "%d; at most %d" % (count, limit))
        return n_tensor, n_kv

    def _read_pair(self, cursor, idx):
        off = cursor.pos
        key = cursor.name(gt.MAX_KEY_BYTES, "metadata key %d" % idx)
        field = "metadata %r" % key
        if key in self.metadata:
            fail(KLLM_ERR_FORMAT, field, off, "the key is there twice")
        off = cursor.pos
        kind = cursor.number("<I", field + " type")
        if kind >= len(gt.VALUES):
            fail(KLLM_ERR_FORMAT, field + " type", off, "%d is unknown" % kind)
        self.fields.offs[key] = cursor.pos
        self.types[key] = gt.VALUE_NAMES[kind]
        if kind == gt.ARRAY:
            value = self._read_array(cursor, key, field)
        elif kind == gt.STR:
            value = text_of(cursor.string(field))
        else:
            value = cursor.number(gt.VALUES[kind][1], field)
            if gt.VALUE_NAMES[kind] == "bool":
                if value > 1:
                    fail(KLLM_ERR_FORMAT, field, cursor.pos - 1, "%d is no bool" % value)
                value = bool(value)
        self.metadata[key] = value

    def _read_array(self, cursor, key, field):
        off = cursor.pos
        kind = cursor.number("<I", field + " element type")
        n_item = cursor.number("<Q", field + " count")
        if kind >= len(gt.VALUES):
            fail(KLLM_ERR_FORMAT, field + " element type", off, "%d is unknown" % kind)
        if kind == gt.ARRAY:
            fail(KLLM_ERR_UNSUPPORTED, field + " element type", off, "an array of arrays")
        self.types[key] = "[%s]" % gt.VALUE_NAMES[kind]
        fmt = gt.VALUES[kind][1]
        item_bytes = struct.calcsize(fmt) if fmt else 8
        left = cursor.end - cursor.pos
        if n_item > left // item_bytes:
            text = "%d elements do not fit the %d bytes left" % (n_item, left)
            fail(KLLM_ERR_FORMAT, field + " count", off + 4, text)
        if n_item > (gt.MAX_ARRAY if fmt else gt.MAX_STRINGS):
            fail(KLLM_ERR_RANGE, field + " count", off + 4, "%d elements" % n_item)
        if fmt is None:
            return self._read_strings(cursor, n_item, field)
        values = array(fmt[1], cursor.take(n_item * item_bytes, field))
        if gt.VALUE_NAMES[kind] == "bool":
            for idx in range(n_item):
                if values[idx] > 1:
                    text = "element %d is no bool" % idx
                    fail(KLLM_ERR_FORMAT, field, cursor.pos - n_item + idx, text)
        return values

    def _read_strings(self, cursor, n_item, field):
        strings = []
        for idx in range(n_item):
            off = cursor.pos
            n_bytes = struct.unpack("<Q", cursor.take(8, field))[0]
            left = cursor.end - cursor.pos - 8 * (n_item - 1 - idx)
            if n_bytes > left:
                text = "element %d of %d bytes, %d are left" % (idx, n_bytes, max(left, 0))
                fail(KLLM_ERR_FORMAT, field, off, text)
            if n_bytes > gt.MAX_STRING_BYTES:
                fail(KLLM_ERR_RANGE, field, off, "element %d of %d bytes" % (idx, n_bytes))
            strings.append(cursor.take(n_bytes, field))
        return strings

    def _read_alignment(self):
        key = "general.alignment"
        self.alignment = 32
        if key not in self.metadata:
            return
        if self.types[key] != "u32":
            self.fields.refuse(KLLM_ERR_FORMAT, key, "is %s, not u32" % self.types[key])
        value = self.metadata[key]
        if value == 0 or value % 8 or value & (value - 1):
            text = "%d is not a power of two from 8 on" % value
            self.fields.refuse(KLLM_ERR_FORMAT, key, text)
        self.alignment = self.fields.uint(key, 8, gt.MAX_ALIGNMENT)

    def _refuse_split(self):
        for key, last in (("split.count", 1), ("split.no", 0)):
            if self.fields.uint(key, 0, 65535, 0) > last:
                text = "a part of a split model; merge the parts into one file"
                self.fields.refuse(KLLM_ERR_UNSUPPORTED, key, text)

    def _read_tensor(self, cursor, idx):
        info_off = cursor.pos
        name = cursor.name(gt.MAX_NAME_BYTES, "tensor %d name" % idx)
        field = "tensor %r" % name
        if name in self._by_name:
            fail(KLLM_ERR_FORMAT, field + " name", info_off, "the name is there twice")
        off = cursor.pos
        n_dim = cursor.number("<I", field + " n_dims")
        if n_dim == 0 or n_dim > 4:
            fail(KLLM_ERR_FORMAT, field + " n_dims", off, "%d is not in 1..4" % n_dim)
        dims = []
        for axis in range(n_dim):
            off = cursor.pos
            dim = cursor.number("<Q", field + " dims")
            if dim == 0 or dim > gt.MAX_DIM:
                text = "dimension %d: %d is not in 1..%d" % (axis, dim, gt.MAX_DIM)
                fail(KLLM_ERR_FORMAT, field + " dims", off, text)
            dims.insert(0, dim)
        off = cursor.pos
        dtype = cursor.number("<I", field + " type")
        if dtype not in gt.DTYPES:
            fail(KLLM_ERR_FORMAT, field + " type", off, "%d is unknown or retired" % dtype)
        _, block_items, block_bytes = gt.DTYPES[dtype]
        if dims[-1] % block_items:
            text = "rows of %d are not whole blocks of %d" % (dims[-1], block_items)
            fail(KLLM_ERR_FORMAT, field + " dims", info_off, text)
        n_bytes = dims[-1] // block_items * block_bytes
        for dim in dims[:-1]:
            n_bytes *= dim  # Python's integers do not wrap; at most 2^132
        if n_bytes > self.n_bytes:
            text = "%d bytes in a file of %d" % (n_bytes, self.n_bytes)
            fail(KLLM_ERR_FORMAT, field + " dims", info_off, text)
        off = cursor.number("<Q", field + " offset")
        tensor = Tensor(name, dtype, tuple(dims), off, n_bytes, info_off)
        self.tensors.append(tensor)
        self._by_name[name] = tensor

    def _place_tensors(self, end):
        """Checks that the tensors lie end to end in the file, and makes their offsets absolute."""
        self.data_off = gt.padded(end, self.alignment)
        data_bytes = self.n_bytes - self.data_off
        want = 0
        for tensor in self.tensors:
            off, field = tensor.off, "tensor %r offset" % tensor.name
            # The field follows name length, name, n_dims, dims and type.
            at = tensor.info_off + 16 + len(tensor.name.encode()) + 8 * len(tensor.dims)
            if off % self.alignment:
                text = "%d is not a multiple of %d" % (off, self.alignment)
                fail(KLLM_ERR_FORMAT, field, at, text)
            if off != want:
                text = "%d, but the tensors before it end at %d" % (off, want)
                fail(KLLM_ERR_FORMAT, field, at, text)
            if off > data_bytes or tensor.n_bytes > data_bytes - off:
                text = "%d bytes at %d do not fit the %d bytes of data" % (
                    tensor.n_bytes,
                    off,
                    max(data_bytes, 0),
                )
                fail(KLLM_ERR_FORMAT, field, at, text)
            tensor.off = self.data_off + off
            want = gt.padded(off + tensor.n_bytes, self.alignment)
        self.trailing_bytes = max(data_bytes - want, 0)

    def tensor(self, name):
        """Returns the Tensor of that name, or None."""
        return self._by_name.get(name)

    def read(self, tensor):
        """Returns the bytes of a small tensor; large ones are better mapped."""
        if hasattr(self._source, "read"):
            self._source.seek(tensor.off)
            data = self._source.read(tensor.n_bytes)
        else:
            with open(self._source, "rb") as file:
                file.seek(tensor.off)
                data = file.read(tensor.n_bytes)
        if len(data) != tensor.n_bytes:
            fail(KLLM_ERR_FORMAT, "tensor %r" % tensor.name, tensor.off, "the file became shorter")
        return data
