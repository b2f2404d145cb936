"""Unigram vocabularies of SentencePiece: normalised text, cut where the scores add up best."""

import struct

from kernel_llm import _abi
from tokenizer.utf8 import CUT, INVALID, char_at
from tokenizer.vocab import NO_TOKEN, TOKEN_ID

_MARK = b"\xe2\x96\x81"  # U+2581, which SentencePiece writes for a space


def normalise(vocab, text):
    """Returns text as the character map has it, with its spaces as the vocabulary wants them."""
    units, texts = _char_map(vocab)
    parts = []
    pos = 0
    while pos < len(text):
        n_bytes, mapped = _mapped(units, texts, text, pos) if units else (0, b"")
        if n_bytes == 0:
            code, n_bytes = char_at(text, pos, len(text))
            if code in (INVALID, CUT):
                n_bytes = 1
                mapped = b"\xef\xbf\xbd"
            else:
                mapped = text[pos : pos + n_bytes]
        parts.append(mapped)
        pos += n_bytes
    text = b"".join(parts).replace(_MARK, b" ")
    if vocab.flags & _abi.KLLM_VOCAB_FEW_SPACES:
        text = b" ".join([word for word in text.split(b" ") if word])
        if not text:
            return text
    if text and vocab.flags & _abi.KLLM_VOCAB_SPACE_PREFIX:
        text = b" " + text
    return text


def _char_map(vocab):
    """Returns (units of the double-array trie, texts), (None, None) without a map."""
    if vocab.map_bytes < 4:
        return None, None
    whole = bytes(vocab.data[vocab.map_off : vocab.map_off + vocab.map_bytes])
    n_trie = struct.unpack_from("<I", whole, 0)[0]
    if n_trie < 4 or n_trie > len(whole) - 4:
        return None, None
    return whole[4 : 4 + n_trie // 4 * 4], whole[4 + n_trie :]


def _unit(units, i):
    return struct.unpack_from("<I", units, 4 * i)[0] if 4 * i < len(units) else 0


def _offset(unit):
    return (unit >> 10 << ((unit & 1 << 9) >> 6)) & 0xFFFFFFFF


def _mapped(units, texts, text, pos):
    """Returns (bytes, text for them) of the longest start of text[pos:] that the map replaces."""
    found = 0, b""
    node = _offset(_unit(units, 0))
    for i in range(pos, len(text)):
        byte = text[i]
        node ^= byte
        unit = _unit(units, node)
        if byte == 0 or unit & 0x800000FF != byte:
            break
        node ^= _offset(unit)
        if unit >> 8 & 1:
            place = _unit(units, node) & 0x7FFFFFFF
            if place < len(texts):
                end = texts.find(b"\0", place)
                found = i + 1 - pos, texts[place:] if end < 0 else texts[place:end]
    return found


def encode(vocab, word):
    """Returns the ids of a word of normalised text."""
    best = {0: (0.0, 0, NO_TOKEN)}  # end: (sum of scores, start, id) of the way to it
    pos = 0
    while pos < len(word):
        n_char = _character(word, pos)
        is_known = False
        end = pos + n_char
        while end - pos <= vocab.longest:
            found = vocab.find_word(word[pos:end])
            if found is not None:
                is_known = is_known or end == pos + n_char
                _offer(vocab, best, pos, end, found & TOKEN_ID)
            if end == len(word):
                break
            end += _character(word, end)
        if not is_known:
            _offer(vocab, best, pos, pos + n_char, vocab.unk)
        pos += n_char
    spans = []
    end = len(word)
    while end > 0:
        _, start, id = best[end]
        spans.append((start, end, id))
        end = start
    return _ids(vocab, word, spans[::-1])


def _ids(vocab, word, spans):
    ids = []
    was_unknown = False
    for start, end, id in spans:
        is_unknown = id == vocab.unk
        if is_unknown and vocab.byte_token(0) != NO_TOKEN:
            char = word[start:end]
            ids += [vocab.byte_token(byte) for byte in (_MARK if char == b" " else char)]
        elif not (is_unknown and was_unknown):  # neighbours that are unknown are one
            ids.append(id)
        was_unknown = is_unknown
    return ids


def _offer(vocab, best, start, end, id):
    total = best[start][0] + vocab.value(id)
    if end not in best or total > best[end][0]:
        best[end] = total, start, id


def _character(text, pos):
    """Returns the bytes of the character at pos; a byte that is no UTF-8 is one."""
    code, n_bytes = char_at(text, pos, len(text))
    return 1 if code in (INVALID, CUT) else n_bytes
