"""Special tokens in a text and around it: found, written out and added when they should be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocabularies import Both, byte_level, sentencepiece


def special_vocabulary():
    return byte_level(specials=[b"<|end|>", b"<|end|>>", b"ab", b"bcde", b"efg"],
                      users=[b"@@", b"\n\n", b"\n\n\n"])  # fmt: skip


SPM = Both(sentencepiece())
SPECIALS = Both(special_vocabulary())
END, LONGER_END, AB, BCDE, EFG, AT, NL2, NL3 = range(256, 264)


def spelled(text):
    """Returns the tokens of text that merges nothing."""
    return [SPECIALS.twin.vocab.byte_token(byte) for byte in text]


@pytest.mark.parametrize("text, special, expected", [
    (b"x<|end|>", False, spelled(b"x<|end|>")),
    (b"x<|end|>", True, [*spelled(b"x"), END]),
    (b"<|end|>>", True, [LONGER_END]),
    (b"<|end|<|end|>", True, [*spelled(b"<|end|"), END]),
    (b"abcde", True, [*spelled(b"a"), BCDE]),  # the longer one wins, though it starts later
    (b"abcdefg", True, [*spelled(b"a"), BCDE, *spelled(b"fg")]),
    (b"ababcd", True, [AB, AB, *spelled(b"cd")]),
    (b"a@@b", False, [*spelled(b"a"), AT, *spelled(b"b")]),  # user tokens need no asking
    (b"@@@@@", False, [AT, AT, *spelled(b"@")]),
    (b"\n\n\n\n\n", False, [NL3, NL2]),
    (b"@<|end|>@@", True, [*spelled(b"@"), END, AT]),
])  # fmt: skip
def test_special_tokens_are_found_on_request_and_longest_first(text, special, expected):
    assert SPECIALS.encode(text, special=special) == expected
    assert SPECIALS.decode_bytes(expected, special=True) == text


@settings(max_examples=300)
@given(parts=st.lists(st.sampled_from([b"<|end|>", b">", b"ab", b"cde", b"fg", b"a", b"bc", b"@",
                                       b"\n", b" ", b"<|", b"end|>"])))  # fmt: skip
def test_special_tokens_are_those_of_the_twin(parts):
    SPECIALS.encode(b"".join(parts), special=True)
    SPECIALS.encode(b"".join(parts))


def test_control_tokens_are_written_only_on_request():
    ids = [*spelled(b"x"), END]
    assert SPECIALS.decode_bytes(ids) == b"x"
    assert SPECIALS.decode_bytes(ids, special=True) == b"x<|end|>"


def test_sentencepiece_control_tokens_never_come_from_text():
    for text in ("<s>", "</s>", "<unk>", "<0x41>"):
        ids = SPM.encode(text)
        assert not set(ids) & {0, 1, 2}
        assert SPM.decode_bytes(ids) == text.encode()
    assert SPM.encode("a</s>a", special=True).count(2) == 1


def test_space_prefix_stands_at_the_start_and_after_special_tokens():
    ids = SPM.encode("t</s>t", special=True)
    assert SPM.decode_bytes(ids, special=True, start=False) == b" t</s>t"
    assert SPM.decode_bytes(ids, special=True) == b"t</s>t"
    plain = Both(sentencepiece(add_space_prefix=False))
    assert plain.decode_bytes(plain.encode("t"), start=False) == b"t"


@pytest.mark.parametrize("options, expected", [
    ({}, (True, False)),  # SentencePiece adds bos by default
    ({"add_bos_token": False}, (False, False)),
    ({"add_bos_token": True, "add_eos_token": True}, (True, True)),
])  # fmt: skip
def test_bos_and_eos_stand_where_the_vocabulary_asks(options, expected):
    both = Both(sentencepiece(**options))
    ids = both.encode("the", affix=True)
    assert (ids[0] == 1, ids[-1] == 2) == expected
    assert both.encode("the") == ids[expected[0] : len(ids) - expected[1]]
    assert both.encode("", affix=True) == [1] * expected[0] + [2] * expected[1]
