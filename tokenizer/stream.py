"""Bytes in any pieces to text in whole characters."""

from tokenizer.utf8 import CUT, INVALID, char_at


class StreamDecoder:
    """
    Turns the bytes of tokens into text, and never gives half a character.

    Bytes that are no UTF-8 become U+FFFD, one for each longest start of a character, as
    bytes.decode("utf-8", "replace") has it. At most 3 bytes are kept back.
    """

    def __init__(self):
        self._kept = b""

    def push(self, data):
        """Returns the text that is complete after these bytes; it may be empty."""
        data = self._kept + data
        end = len(data)
        for n_bytes in (1, 2, 3):
            if n_bytes <= end and data[end - n_bytes] >= 0xC0:
                if char_at(data, end - n_bytes, end)[0] == CUT:
                    end -= n_bytes
                break
        self._kept = data[end:]
        return _decode(data[:end])

    def finish(self):
        """Returns what is left, and starts anew."""
        data = self._kept
        self._kept = b""
        return _decode(data)


def _decode(data):
    """Returns the text of bytes, U+FFFD for what is no UTF-8."""
    # Not left to str(): MicroPython's lets surrogates and overlong forms through.
    parts = []
    pos = start = 0
    while pos < len(data):
        code, n_bytes = char_at(data, pos, len(data))
        if code in (INVALID, CUT):
            parts.append(str(data[start:pos], "utf-8"))
            parts.append("\ufffd")
            start = pos + n_bytes
        pos += n_bytes
    parts.append(str(data[start:], "utf-8"))
    return "".join(parts)
