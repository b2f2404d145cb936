"""Takes numbers, names and strings from a GGUF file, each bounded before it is read."""

import struct

from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE
from kernel_llm.gguf import types as gt
from kernel_llm.gguf.fields import fail


def text_of(data):
    """Returns bytes as str, or as they are where they are not UTF-8: see Fields.string."""
    try:
        return data.decode()
    except UnicodeError:
        return data


class Cursor:
    """Takes bytes from a file, never past end."""

    def __init__(self, file, end):
        self.file = file
        self.pos = 0
        self.end = end

    def take(self, n_bytes, field):
        """Returns the next n_bytes bytes; field names them in an error."""
        if n_bytes > self.end - self.pos:
            text = "needs %d bytes, %d are left" % (n_bytes, self.end - self.pos)
            fail(KLLM_ERR_FORMAT, field, self.pos, text)
        data = self.file.read(n_bytes)
        if len(data) != n_bytes:
            fail(KLLM_ERR_FORMAT, field, self.pos, "the file became shorter while it was read")
        self.pos += n_bytes
        return data

    def number(self, fmt, field):
        return struct.unpack(fmt, self.take(struct.calcsize(fmt), field))[0]

    def name(self, limit_bytes, field):
        """Returns a key or tensor name: 1 .. limit_bytes bytes of UTF-8 without NUL."""
        off = self.pos
        n_bytes = self.number("<Q", field + " length")
        if n_bytes == 0 or n_bytes > limit_bytes:
            text = "%d is not in 1..%d" % (n_bytes, limit_bytes)
            fail(KLLM_ERR_FORMAT, field + " length", off, text)
        text = text_of(self.take(n_bytes, field))
        if isinstance(text, bytes) or "\0" in text:
            fail(KLLM_ERR_FORMAT, field, off + 8, "a NUL byte or invalid UTF-8")
        return text

    def string(self, field):
        off = self.pos
        n_bytes = self.number("<Q", field)
        if n_bytes > self.end - self.pos:
            text = "a string of %d bytes, %d are left" % (n_bytes, self.end - self.pos)
            fail(KLLM_ERR_FORMAT, field, off, text)
        if n_bytes > gt.MAX_STRING_BYTES:
            fail(KLLM_ERR_RANGE, field, off, "a string of %d bytes" % n_bytes)
        return self.take(n_bytes, field)
