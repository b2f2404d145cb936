"""Words of the twin against the regular expressions themselves, run by the tokenizers library."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_llm import _abi
from kernel_llm.tokenizer import unicode_data
from kernel_llm.tokenizer.section import pack_vocab
from tokenizer.pretokenize import LETTER, LETTER_OTHER, NUMBER, WHITE, split
from tokenizer.vocab import Vocab
from vocabularies import STAGES, TEXT_ALPHABET, byte_level, oracle_cutter, raw

CUTTERS = {pre: (Vocab(pack_vocab(byte_level(pre))), oracle_cutter(pre)) for pre in STAGES}
TEXT = st.text(st.sampled_from(TEXT_ALPHABET)) | st.text()


def words_of(pre, text):
    data = text.encode()
    return [data[start:end] for start, end in split(CUTTERS[pre][0], data)]


def oracle_words(pre, text):
    return [raw(word) for word, _ in CUTTERS[pre][1].pre_tokenize_str(text)]


@pytest.mark.parametrize("pre", sorted(STAGES))
@settings(max_examples=400)
@given(text=TEXT)
@example(text="I'll we'LL it'\u017f o'Re's 'S''t")
@example(text="a  1   22 \t\n \n  b\r\n\r\n   ")
@example(text="HTTPServer/ÀÉa中Aʰ ́A ́́b!!/\n/")
@example(text="x\u3000\u3000y \u3000 . \x85\xa0 1234567 ٣٣½")
def test_words_are_those_of_the_expression(pre, text):
    assert words_of(pre, text) == oracle_words(pre, text)


@pytest.mark.parametrize("pre", sorted(STAGES))
@given(data=st.binary())
def test_words_of_any_bytes_join_to_the_bytes(pre, data):
    vocab = CUTTERS[pre][0]
    words = [data[start:end] for start, end in split(vocab, data)]
    assert b"".join(words) == data
    assert all(words)


def test_bytes_that_are_no_utf8_are_plain_characters():
    # A cut character, a surrogate, too long a form, past the last plane: each byte for itself.
    for data in (b"\xe4\xb8", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xff"):
        vocab = CUTTERS["gpt-2"][0]
        text = b"a" + data + b"b"
        words = [text[start:end] for start, end in split(vocab, text)]
        assert words == [b"a", data, b"b"]


def test_classes_of_all_characters_are_those_of_the_library():
    from tokenizers import Regex, pre_tokenizers

    vocab = CUTTERS["gpt-2"][0]
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    text = "".join(map(chr, codes))
    for expression, wanted in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", WHITE),
                               (r"\p{Lo}", LETTER_OTHER)):  # fmt: skip
        splitter = pre_tokenizers.Split(Regex(expression), "removed")
        others = set("".join(piece for piece, _ in splitter.pre_tokenize_str(text)))
        expected = {code for code in codes if chr(code) not in others}
        assert {c for c in codes if 1 << vocab.class_of(c) & wanted} == expected


def test_the_unicode_version_is_written_in_the_section():
    assert CUTTERS["gpt-2"][0].unicode == unicode_data.VERSION == 0x100000
    assert CUTTERS["gpt-2"][0].pre == _abi.KLLM_PRE_GPT2
