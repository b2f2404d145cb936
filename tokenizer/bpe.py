"""Encoder and decoder over the tables of a vocab section, in plain Python."""

from kernel_llm import _abi
from tokenizer import unigram
from tokenizer.pretokenize import split
from tokenizer.special import next_special
from tokenizer.stream import StreamDecoder
from tokenizer.utf8 import CUT, INVALID, char_at
from tokenizer.vocab import NO_TOKEN, TOKEN_ID, WHOLE, Vocab

_SPECIAL_TYPES = (_abi.KLLM_TOKEN_CONTROL, _abi.KLLM_TOKEN_UNKNOWN, _abi.KLLM_TOKEN_USER)
_MARK = b"\xe2\x96\x81"  # U+2581, which SentencePiece writes for a space


class Tokenizer:
    """
    Text to token ids and back, with the results of kllm_encode and kllm_decode.

    vocab: a Vocab, or the bytes of a vocab section.
    """

    def __init__(self, vocab):
        self.vocab = vocab if isinstance(vocab, Vocab) else Vocab(vocab)
        self._has_prefix = bool(self.vocab.flags & _abi.KLLM_VOCAB_SPACE_PREFIX)

    def encode(self, text, special=False, affix=False):
        """
        Returns the token ids of a text.

        text: str or bytes; invalid UTF-8 is encoded byte by byte.
        special: find control tokens in the text; without it they are plain text.
        affix: add bos and eos where the vocabulary asks for them.
        """
        if isinstance(text, str):
            text = text.encode()
        vocab = self.vocab
        wanted = vocab.specials if special else vocab.users
        ids = []
        if affix and vocab.flags & _abi.KLLM_VOCAB_ADD_BOS:
            ids.append(vocab.bos)
        pos = 0
        while pos < len(text):
            start, end, id = next_special(vocab, wanted, text, pos)
            if start > pos:
                ids.extend(self._encode_plain(text[pos:start]))
            if id is not None:
                ids.append(id)
            if id is not None and vocab.strips(id):
                while end < len(text) and text[end] in b" \t\n\v\f\r":
                    end += 1
            pos = end
        if affix and vocab.flags & _abi.KLLM_VOCAB_ADD_EOS:
            ids.append(vocab.eos)
        return ids

    def decode_bytes(self, ids, special=False, start=True):
        """
        Returns the bytes of token ids.

        special: write control tokens out; without it they give nothing.
        start: the ids begin a text: take off the space that encoding puts before it.
        """
        vocab = self.vocab
        parts = []
        is_start = self._has_prefix and start
        for id in ids:
            kind = vocab.type(id)
            text = vocab.text(id)
            is_control = kind in (_abi.KLLM_TOKEN_CONTROL, _abi.KLLM_TOKEN_UNKNOWN)
            if is_start and kind == _abi.KLLM_TOKEN_NORMAL and text[:1] == b" ":
                text = text[1:]
            if special or not is_control:
                parts.append(text)
            is_start = self._has_prefix and kind in _SPECIAL_TYPES
        return b"".join(parts)

    def decode(self, ids, special=False, start=True):
        """Returns the text of token ids; what is no UTF-8 becomes U+FFFD."""
        stream = StreamDecoder()
        return stream.push(self.decode_bytes(ids, special, start)) + stream.finish()

    def stream(self, ids, special=False, start=True):
        """Yields the text of an iterable of token ids, piece by piece, never half a character."""
        decoder = StreamDecoder()
        for id in ids:
            piece = decoder.push(self.decode_bytes((id,), special, start))
            start = self.vocab.type(id) in _SPECIAL_TYPES
            if piece:
                yield piece
        piece = decoder.finish()
        if piece:
            yield piece

    def _encode_plain(self, text):
        if self.vocab.kind == _abi.KLLM_VOCAB_UNIGRAM:
            ids = []
            for word in self._spm_words(unigram.normalise(self.vocab, text)):
                ids.extend(unigram.encode(self.vocab, word))
            return ids
        if not self.vocab.is_bpe:
            return self._encode_spm(text)
        ids = []
        for start, end in split(self.vocab, text):
            word = text[start:end]
            found = self.vocab.find_word(word)
            if found is not None:
                ids.append(found & TOKEN_ID)
            else:
                ids.extend(self._merge_word(word))
        return ids

    def _merge_word(self, word):
        """Returns the ids of a word of byte-level BPE; bytes without a token are left out."""
        vocab = self.vocab
        ids = [vocab.byte_token(byte) for byte in word]
        ids = [id for id in ids if id != NO_TOKEN]
        merge(ids, lambda i: vocab.find_pair(ids[i], ids[i + 1]), vocab.made)
        return ids

    def _encode_spm(self, text):
        text = text.replace(_MARK, b" ")
        if self._has_prefix:
            text = b" " + text
        ids = []
        for word in self._spm_words(text):
            found = self.vocab.find_word(word)
            if found is not None and found & WHOLE:
                ids.append(found & TOKEN_ID)
            else:
                ids.extend(self._merge_spm(word))
        return ids

    def _spm_words(self, text):
        """Yields text cut before each space that follows something else, if no token crosses."""
        start = 0
        if self.vocab.flags & _abi.KLLM_VOCAB_SPACE_SPLITS:
            for i in range(1, len(text)):
                if text[i] == 32 and text[i - 1] != 32:
                    yield text[start:i]
                    start = i
        yield text[start:]

    def _merge_spm(self, word):
        vocab = self.vocab
        parts = _characters(word)

        def rank(i):
            found = vocab.find_word(parts[i] + parts[i + 1])
            return None if found is None else vocab.score(found & TOKEN_ID)

        merge(parts, rank)
        ids = []
        for part in parts:
            found = vocab.find_word(part)
            if found is not None:
                ids.append(found & TOKEN_ID)
            else:
                ids.extend(self._spm_bytes(part))
        return ids

    def _spm_bytes(self, char):
        """Returns the tokens of a character that is none itself."""
        if self.vocab.byte_token(0) == NO_TOKEN:
            return [] if self.vocab.unk == NO_TOKEN else [self.vocab.unk]
        return [self.vocab.byte_token(byte) for byte in (_MARK if char == b" " else char)]


def _characters(text):
    """Returns the characters of a text as bytes; a byte that is no UTF-8 is one too."""
    chars = []
    pos = 0
    while pos < len(text):
        code, n_bytes = char_at(text, pos, len(text))
        if code in (INVALID, CUT):
            n_bytes = 1
        chars.append(text[pos : pos + n_bytes])
        pos += n_bytes
    return chars


def merge(parts, rank_of, made=None):
    """
    Merges neighbours in parts in place: the lowest rank first, of equals the leftmost.

    rank_of(i): the rank of parts i and i + 1, None if they do not merge.
    made(rank): what a merge makes; without it the two are added.
    """
    ranks = [rank_of(i) for i in range(len(parts) - 1)]
    while True:
        best = None
        for i, rank in enumerate(ranks):
            if rank is not None and (best is None or rank < ranks[best]):
                best = i
        if best is None:
            return
        parts[best] = made(ranks[best]) if made else parts[best] + parts[best + 1]
        del parts[best + 1]
        del ranks[best]
        if best > 0:
            ranks[best - 1] = rank_of(best - 1)
        if best < len(ranks):
            ranks[best] = rank_of(best)
