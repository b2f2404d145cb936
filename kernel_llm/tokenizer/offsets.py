"""Where in a text each of its tokens comes from. CPython only."""

from kernel_llm import _abi

_MARK = b"\xe2\x96\x81"  # U+2581, which SentencePiece takes for a space
_SPECIAL = (_abi.KLLM_TOKEN_CONTROL, _abi.KLLM_TOKEN_UNKNOWN, _abi.KLLM_TOKEN_USER)


def offsets_of(vocab, text, data, ids, special, affix):
    """
    Returns [(start, end)] of each id: characters of a str, bytes of bytes.

    data: the bytes that were encoded. Added bos and eos, and a space put before the text, are
    empty. Tokens that share a character all cover it.
    """
    spans = []
    pos = 0
    bos = affix and vocab.flags & _abi.KLLM_VOCAB_ADD_BOS
    eos = affix and vocab.flags & _abi.KLLM_VOCAB_ADD_EOS
    is_start = True
    for i, id in enumerate(ids):
        if (bos and i == 0) or (eos and i == len(ids) - 1):
            spans.append((pos, pos))
            continue
        if i and vocab.strips(ids[i - 1]) and is_start:
            while pos < len(data) and data[pos] in b" \t\n\v\f\r":
                pos += 1
        start, pos = _span(vocab, data, pos, id, is_start)
        is_start = vocab.type(id) in _SPECIAL
        spans.append((start, pos))
    return _in_characters(data, spans) if isinstance(text, str) else spans


def _span(vocab, data, pos, id, is_start):
    """Returns (start, end) in bytes of the next token, which begins at pos or after it."""
    token = vocab.text(id)
    kind = vocab.type(id)
    if vocab.is_bpe:
        if kind == _abi.KLLM_TOKEN_NORMAL or kind == _abi.KLLM_TOKEN_UNDEFINED:
            return _byte_level_span(vocab, data, pos, token)
        return pos, pos + len(token)
    if kind == _abi.KLLM_TOKEN_UNKNOWN and not data.startswith(token, pos):
        return pos, pos + _character(data, pos)
    has_prefix = is_start and vocab.flags & _abi.KLLM_VOCAB_SPACE_PREFIX
    if has_prefix and kind == _abi.KLLM_TOKEN_NORMAL and token[:1] == b" ":
        token = token[1:]
    end = pos
    for byte in token:
        end += 3 if byte == 32 and data.startswith(_MARK, end) else 1
    return pos, end


def _byte_level_span(vocab, data, pos, token):
    """The same for byte-level BPE, which leaves out bytes that are no token."""
    start = None
    for byte in token:
        while data[pos] != byte:
            pos += 1
        start = pos if start is None else start
        pos += 1
    return start, pos


def _character(data, pos):
    """Returns the bytes of the character at pos."""
    end = pos + 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return end - pos


def _in_characters(data, spans):
    """Returns spans in characters: a token with a part of one covers it all."""
    before = [0]  # characters that start before each byte
    for byte in data:
        before.append(before[-1] + (byte & 0xC0 != 0x80))
    n_char = before[-1]
    return [(before[start], before[start]) if start == end else
            (before[start + 1] - 1, min(n_char, before[end]))
            for start, end in spans]  # fmt: skip
