"""One character of UTF-8 at a time, for text that may be anything."""

from kernel_llm._port import const

INVALID = const(-1)
CUT = const(-2)


def char_at(text, pos, end):
    """
    Returns (code point, number of bytes) of the character at text[pos], pos below end.

    (INVALID, n): the n bytes are no UTF-8, and cannot be the start of any; n is 1 to 3.
    (CUT, n): the n bytes are the start of a character that end cuts off.
    """
    first = text[pos]
    if first < 0x80:
        return first, 1
    if first < 0xC2 or first > 0xF4:
        return INVALID, 1
    n_bytes = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    code = first & (0x7F >> n_bytes)
    for i in range(1, n_bytes):
        if pos + i == end:
            return CUT, i
        byte = text[pos + i]
        lo, hi = 0x80, 0xBF
        if i == 1:  # not longer than it need be, no surrogate, not past the last plane
            lo = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
            hi = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if byte < lo or byte > hi:
            return INVALID, i
        code = code << 6 | byte & 0x3F
    return code, n_bytes
