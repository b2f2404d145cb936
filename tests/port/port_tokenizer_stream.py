"""The stream decoder gives the same text under both interpreters, whatever the pieces."""

from tokenizer.stream import StreamDecoder

DATA = b"a\xc3\xa9\xe4\xb8\xad\xf0\x9f\xa6\x99\xff\xed\xa0\x80\xe4\xb8z\xf4\x90\x80\x80\xc0\xf0"


def codes(text):
    return [ord(char) for char in text]


whole = StreamDecoder()
expected = whole.push(DATA) + whole.finish()
print(codes(expected))
for n_bytes in range(1, 7):
    decoder = StreamDecoder()
    pieces = [decoder.push(DATA[i : i + n_bytes]) for i in range(0, len(DATA), n_bytes)]
    pieces.append(decoder.finish())
    assert "".join(pieces) == expected
    print(n_bytes, [codes(piece) for piece in pieces])
