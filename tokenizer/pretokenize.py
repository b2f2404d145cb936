"""
Cuts text into words for byte-level BPE.

Each pre-tokenizer is a row of a table; docs/tokenizer.md shows the regular expression it stands
for. Positions are byte offsets; a byte that is no UTF-8 is a character of class OTHER.
"""

from kernel_llm import _abi
from kernel_llm._port import const
from tokenizer.ranges import CJK, LATIN, MARKS
from tokenizer.utf8 import CUT, INVALID, char_at

# Classes as sets; the class table has their numbers 0 to 10.
OTHER = const(1)
SPACE = const(2)  # white space but line ends
NEWLINE = const(4)  # \r \n
UPPER = const(8)  # Lu Lt
LOWER = const(16)
MODIFIER = const(32)  # Lm
LETTER_OTHER = const(64)  # Lo
MARK = const(128)
NUMBER = const(256)
PUNCTUATION = const(512)
SYMBOL = const(1024)
WHITE = SPACE | NEWLINE
LETTER = UPPER | LOWER | MODIFIER | LETTER_OTHER
PLAIN = OTHER | MARK | PUNCTUATION | SYMBOL
WORD_HEAD = UPPER | MODIFIER | LETTER_OTHER | MARK
WORD_TAIL = LOWER | MODIFIER | LETTER_OTHER | MARK

# Flags of a rule.
CONTRACTION = const(1)  # 's 't 're 've 'm 'll 'd first
CONTRACTION_ANY = const(2)  # the same in any case
CONTRACTION_AFTER = const(4)  # in any case, as the end of a word
LEAD_ANY = const(8)  # one character but \r \n letter number may begin a word of letters
LEAD_SPACE = const(16)  # a space may begin a word of letters or of numbers
CASED = const(32)  # words of letters end where lower case turns to upper case
TAIL_NEWLINES = const(64)  # line ends belong to the punctuation before them
TAIL_SLASHES = const(128)  # line ends and slashes do
NEWLINES = const(256)  # white space up to its last line end is a word
NUMBER_ENDS = const(512)  # a number ends the text for the white space before it

_LLAMA3 = CONTRACTION_ANY | LEAD_ANY | TAIL_NEWLINES | NEWLINES
_TEKKEN = LEAD_ANY | CASED | TAIL_SLASHES | NEWLINES

# kllm_pre: (flags, longest word of numbers or 0, stages). Each stage cuts the pieces of the one
# before; "general" is the rule of the flags.
PRES = {
    _abi.KLLM_PRE_GPT2: (CONTRACTION | LEAD_SPACE, 0, ("general",)),
    _abi.KLLM_PRE_SMOLLM: (CONTRACTION | LEAD_SPACE | NUMBER_ENDS, 1, ("general",)),
    _abi.KLLM_PRE_LLAMA3: (_LLAMA3, 3, ("general",)),
    _abi.KLLM_PRE_QWEN2: (_LLAMA3, 1, ("general",)),
    _abi.KLLM_PRE_TEKKEN: (_TEKKEN, 1, ("general",)),
    _abi.KLLM_PRE_GPT4O: (_TEKKEN | CONTRACTION_AFTER, 3, ("general",)),
    _abi.KLLM_PRE_FALCON: (CONTRACTION | LEAD_SPACE, 0, ("falcon", "general", "3 digits")),
    _abi.KLLM_PRE_DEEPSEEK_LLM: (
        0, 0, ("newline", "latin", "marks", "space end", "cjk", "numbers"),
    ),
    _abi.KLLM_PRE_DEEPSEEK_CODER: (
        0, 0, ("newline", "space letters", "space punctuation", "cjk", "number"),
    ),
    _abi.KLLM_PRE_DEFAULT: (
        CONTRACTION | LEAD_SPACE, 0, ("punctuation", "general", "numbers", "3 digits"),
    ),
}  # fmt: skip

# What a stage matches: stage: (set of classes, ranges of characters, white space may lead, most).
_SIGNS = ((36, 36), (43, 43), (60, 62), (94, 94), (124, 124), (126, 126))  # $ + <=> ^ | ~
_TICK = ((96, 96),)
STAGES = {
    "newline": (NEWLINE, (), False, 1),
    "number": (NUMBER, (), False, 1),
    "numbers": (NUMBER, (), False, 0),
    "3 digits": (0, ((48, 57),), False, 3),
    "punctuation": (PUNCTUATION, _SIGNS, False, 0),
    "falcon": (PUNCTUATION, _SIGNS + _TICK, False, 0),
    "space letters": (LETTER, (), True, 0),
    "space punctuation": (PUNCTUATION, (), True, 0),
    "latin": (0, LATIN, True, 0),
    "marks": (0, MARKS, True, 0),
    "space end": (WHITE, (), False, 0),
    "cjk": (0, CJK, False, 0),
}


def split(vocab, text, pos=0):
    """Yields (start, end) of each word of text[pos:], in order and without gaps."""
    flags, n_digit, stages = PRES[vocab.pre]
    cutter = _Cutter(vocab, text, flags, n_digit)
    bounds = [pos] * len(stages)  # where the piece that each stage has cut ends
    while pos < len(text):
        end = len(text)
        for i, stage in enumerate(stages):
            if bounds[i] == pos:
                bounds[i] = cutter.piece_end(stage, pos, end)
            end = bounds[i]
        yield pos, end
        pos = end


class _Cutter:
    """Finds where words end. Every method takes the piece's end, past which nothing is seen."""

    def __init__(self, vocab, text, flags, n_digit):
        self.vocab = vocab
        self.text = text
        self.flags = flags
        self.n_digit = n_digit

    def char(self, pos, end):
        """Returns (class as a set, number of bytes, code point) at pos; (0, 0, -1) at the end."""
        if pos >= end:
            return 0, 0, INVALID
        code, n_bytes = char_at(self.text, pos, end)
        if code in (INVALID, CUT):
            return OTHER, 1, INVALID
        return 1 << self.vocab.class_of(code), n_bytes, code

    def run(self, pos, end, wanted):
        """Returns (end of the run of characters of a set, where its last character starts)."""
        last = pos
        while True:
            kind, n_bytes, _ = self.char(pos, end)
            if not kind & wanted:
                return pos, last
            last = pos
            pos += n_bytes

    def piece_end(self, stage, pos, end):
        """Returns the end of what a stage cuts at pos: a match, or all before the next one."""
        if stage == "general":
            return self.general(pos, end)
        p = self.match(stage, pos, end)
        if p > pos:
            return p
        while p < end and self.match(stage, p, end) == p:
            kind, n_bytes, _ = self.char(p, end)
            if stage == "space end" and kind & WHITE:
                p, _ = self.run(p, end, WHITE)  # no match within a run that does not end the piece
            else:
                p += n_bytes
        return p

    def match(self, stage, pos, end):
        """Returns the end of a stage's match at pos, or pos."""
        kinds, ranges, may_lead, n_most = STAGES[stage]
        p, n = self._count(kinds, ranges, n_most, pos, end)
        if n == 0 and may_lead:
            kind, n_bytes, _ = self.char(pos, end)
            if kind & WHITE:
                p, n = self._count(kinds, ranges, n_most, pos + n_bytes, end)
        if n == 0 or (stage == "3 digits" and n < 3) or (stage == "space end" and p < end):
            return pos
        return p

    def _count(self, kinds, ranges, n_most, pos, end):
        n = 0
        while n_most == 0 or n < n_most:
            kind, n_bytes, code = self.char(pos, end)
            if not kind & kinds and not any(lo <= code <= hi for lo, hi in ranges):
                break
            pos += n_bytes
            n += 1
        return pos, n

    def general(self, pos, end):
        """Returns the end of the word at pos by the rule of the flags."""
        flags = self.flags
        if flags & (CONTRACTION | CONTRACTION_ANY):
            p = self.contraction(pos, end, flags & CONTRACTION_ANY)
            if p > pos:
                return p
        p = self.cased(pos, end) if flags & CASED else self.letters(pos, end)
        if p > pos:
            return p
        start = pos + 1 if self.text[pos] == 32 else pos
        kind, _, _ = self.char(start, end)
        may_lead = flags & LEAD_SPACE and not flags & NUMBER_ENDS
        if kind & NUMBER and (start == pos or may_lead):
            return self.numbers(start, end)
        if kind & PLAIN:
            p, _ = self.run(start, end, PLAIN)
            tail = b"\r\n/" if flags & TAIL_SLASHES else b"\r\n" if flags & TAIL_NEWLINES else b""
            while p < end and self.text[p] in tail:
                p += 1
            return p
        return self.white(pos, end)

    def contraction(self, pos, end, any_case):
        """Returns the end of a contraction at pos, or pos."""
        # U+017F, long s, folds to s as upper case does.
        word = bytes(self.text[pos : min(pos + 4, end)])
        if any_case:
            word = word.replace(b"\xc5\xbf", b"s").lower()
        for known in (b"'s", b"'t", b"'m", b"'d", b"'re", b"'ve", b"'ll"):
            if word[: len(known)] == known:
                long_s = any_case and known == b"'s" and self.text[pos + 1] == 0xC5
                return pos + len(known) + (1 if long_s else 0)
        return pos

    def letters(self, pos, end):
        """Returns the end of [lead]letters+ at pos, or pos."""
        kind, n_bytes, _ = self.char(pos, end)
        if kind & LETTER:
            return self.run(pos, end, LETTER)[0]
        if self.flags & LEAD_ANY:
            leads = not kind & (NEWLINE | NUMBER)
        else:
            leads = self.flags & LEAD_SPACE and self.text[pos] == 32
        if leads and self.char(pos + n_bytes, end)[0] & LETTER:
            return self.run(pos + n_bytes, end, LETTER)[0]
        return pos

    def cased(self, pos, end):
        """Returns the end of [lead]head*tail+ or [lead]head+tail* at pos, or pos."""
        kind, n_bytes, _ = self.char(pos, end)
        starts = [pos] if kind & (NEWLINE | LETTER | NUMBER) else [pos + n_bytes, pos]
        for need_tail in (True, False):
            for start in starts:
                heads, _ = self.run(start, end, WORD_HEAD)
                tails, _ = self.run(heads, end, WORD_TAIL)
                if need_tail and tails == heads:
                    # The last head that may be a tail is the tail.
                    tails = start
                    p = start
                    while p < heads:
                        kind, n_bytes, _ = self.char(p, end)
                        p += n_bytes
                        if kind & WORD_TAIL:
                            tails = p
                if tails > start and (need_tail or heads > start):
                    if self.flags & CONTRACTION_AFTER:
                        return self.contraction(tails, end, True)
                    return tails
        return pos

    def numbers(self, pos, end):
        n = 0
        while self.n_digit == 0 or n < self.n_digit:
            kind, n_bytes, _ = self.char(pos, end)
            if not kind & NUMBER:
                break
            pos += n_bytes
            n += 1
        return pos

    def white(self, pos, end):
        """Returns the end of the white space at pos that belongs together."""
        run, last = self.run(pos, end, WHITE)
        if self.flags & NEWLINES:
            for p in range(run, pos, -1):
                if self.text[p - 1] in b"\r\n":
                    return p
        is_end = run == end or (self.flags & NUMBER_ENDS and self.char(run, end)[0] & NUMBER)
        return run if is_end or last == pos else last  # the last goes with the word that follows
