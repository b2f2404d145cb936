"""Writes GGUF files, version 3: the header at once, then tensor by tensor."""

import struct

from kernel_llm.gguf.types import DTYPES, VALUE_NAMES, VALUES, padded

ALIGNMENT = 32


def _string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def value_bytes(kind, value):
    """
    Returns a metadata value as the file holds it, its type in front.

    kind: "u32", "str", "[f32]" … as in Fields.types. value: what Fields.values holds for it.
    """
    if kind[0] != "[":
        idx = VALUE_NAMES.index(kind)
        fmt = VALUES[idx][1]
        return struct.pack("<I", idx) + (struct.pack(fmt, value) if fmt else _string(value))
    idx = VALUE_NAMES.index(kind[1:-1])
    head = struct.pack("<IIQ", VALUE_NAMES.index("array"), idx, len(value))
    fmt = VALUES[idx][1]
    if fmt:
        return head + struct.pack("<%d%s" % (len(value), fmt[1]), *value)
    return head + b"".join([_string(item) for item in value])


class Writer:
    """
    file: open for writing bytes, at its start.
    metadata: list of (key, kind, value); see value_bytes. "general.alignment" must be absent or
    32. tensors: list of (name, dtype, dims), dims with the row length last; their bytes are then
    given in this order to `write`.
    """

    def __init__(self, file, metadata, tensors):
        self._file = file
        self._left = []  # bytes each tensor still lacks, in file order
        head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
        for key, kind, value in metadata:
            head.append(_string(key))
            head.append(value_bytes(kind, value))
        off = 0
        for name, dtype, dims in tensors:
            _, block_items, block_bytes = DTYPES[dtype]
            n_bytes = dims[-1] // block_items * block_bytes
            for dim in dims[:-1]:
                n_bytes *= dim
            head.append(_string(name))
            head.append(struct.pack("<I", len(dims)))
            for dim in reversed(dims):
                head.append(struct.pack("<Q", dim))
            head.append(struct.pack("<IQ", dtype, off))
            self._left.append(n_bytes)
            off += padded(n_bytes, ALIGNMENT)
        head = b"".join(head)
        file.write(head)
        file.write(bytes(padded(len(head), ALIGNMENT) - len(head)))
        self._left.reverse()
        self._pad = [padded(n_bytes, ALIGNMENT) - n_bytes for n_bytes in self._left]

    def write(self, data):
        """Appends bytes of the current tensor: all of it or a part, never past its end."""
        if len(data) > self._left[-1]:
            raise ValueError("%d bytes more than the tensor holds" % (len(data) - self._left[-1]))
        self._file.write(data)
        self._left[-1] -= len(data)
        if self._left[-1] == 0:
            self._left.pop()
            self._file.write(bytes(self._pad.pop()))

    def close(self):
        """Checks that every tensor is complete; the file stays the caller's."""
        if self._left:
            raise ValueError("%d tensors are not complete" % len(self._left))
