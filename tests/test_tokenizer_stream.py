"""Streaming decode: the bytes of tokens in any pieces, text in whole characters."""

from hypothesis import example, given
from hypothesis import strategies as st

from kernel_llm.tokenizer.section import pack_vocab
from tokenizer import StreamDecoder, Tokenizer
from vocabularies import byte_level

CUTS = [b"\xe4", b"\xe4\xb8", b"\xf0\x9f\xa6", b"\xf4\x90", b"\xed\xa0", b"\xc0", b"\xff", b"a",
        "中".encode(), "🦙".encode(), b"\x80"]  # fmt: skip


@given(pieces=st.lists(st.sampled_from(CUTS) | st.binary(max_size=6)))
@example(pieces=[b"\xf0", b"\x9f", b"\xa6", b"\x99"])
def test_stream_joins_to_what_the_standard_decoder_gives(pieces):
    decoder = StreamDecoder()
    data, text = b"", ""
    for piece in pieces:
        data += piece
        text += decoder.push(piece)
        # Behind by one unfinished character at most, which would be one U+FFFD.
        assert data.decode("utf-8", "replace") in (text, text + "\ufffd")
    assert text + decoder.finish() == data.decode("utf-8", "replace")


@given(text=st.text())
def test_stream_of_ids_joins_to_the_text_and_never_cuts_a_character(text):
    tokenizer = Tokenizer(pack_vocab(byte_level()))
    pieces = list(tokenizer.stream(tokenizer.encode(text)))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_finish_starts_anew():
    decoder = StreamDecoder()
    assert decoder.push(b"\xe4\xb8") == ""
    assert decoder.finish() == "\ufffd"
    assert decoder.push(b"a") == "a"
