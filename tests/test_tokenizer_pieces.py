"""Text in pieces gives the ids of the whole."""

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import SEED
from kernel_llm import Tokenizer, _abi
from kernel_llm import _native as native
from kernel_llm.tokenizer.section import pack_vocab
from vocabularies import STAGES, TEXT_ALPHABET, byte_level, pairs, sentencepiece

WAITING = _abi.KLLM_STREAM_BYTES


def in_pieces(tokenizer, data, sizes, **options):
    """Returns the ids of data, given in pieces of these sizes again and again."""
    encoder = tokenizer.stream_encoder(**options)
    ids = []
    pos = i = 0
    while pos < len(data):
        n_bytes = sizes[i % len(sizes)]
        ids += encoder.push(data[pos : pos + n_bytes])
        pos += n_bytes
        i += 1
    return ids + encoder.finish()


def mixed_text(rng, n_bytes):
    """Returns random text in which words, runs and characters of all kinds meet."""
    parts = []
    n = 0
    while n < n_bytes:
        run = "".join(rng.choices(TEXT_ALPHABET, k=rng.randrange(1, 9)))
        part = (run * rng.choice((1, 1, 1, 2, 40))).encode()
        parts.append(part)
        n += len(part)
    return b"".join(parts)


@pytest.mark.parametrize("pre", sorted(STAGES))
def test_byte_level_text_in_pieces_gives_the_ids_of_the_whole(pre):
    tokenizer = Tokenizer(pack_vocab(pairs(pre)))
    rng = random.Random(SEED)
    for n_bytes in (0, 5, WAITING, 3 * WAITING):
        data = mixed_text(rng, n_bytes)
        expected = tokenizer.encode(data)
        for sizes in ((WAITING,), (1000, 1, 70000), (4097,)):
            assert in_pieces(tokenizer, data, sizes) == expected


LONG = {
    "letters": lambda rng: bytes(rng.choices(b"aestrlvm", k=4 * WAITING)) + b" a",
    "upper and lower": lambda rng: b"A" * 2 * WAITING + b"a" * 2 * WAITING + b"Aa",
    "punctuation": lambda rng: b"." * 3 * WAITING + b"'s",
    "spaces": lambda rng: b" " * 3 * WAITING + b"a",
    "digits": lambda rng: b"1" * 3 * WAITING,
    "ideographs": lambda rng: "中é".encode() * WAITING,
    "bytes": lambda rng: bytes(rng.choices(range(128, 256), k=3 * WAITING)),
}


@pytest.mark.parametrize("kind", sorted(LONG))
@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "gpt-4o", None])
def test_words_longer_than_what_may_wait_give_the_ids_of_the_whole(pre, kind):
    tokenizer = Tokenizer(pack_vocab(sentencepiece() if pre is None else pairs(pre)))
    data = b"a b " + LONG[kind](random.Random(SEED)) + b" the end"
    assert in_pieces(tokenizer, data, (50000, 7)) == tokenizer.encode(data)


@pytest.mark.parametrize("options", [{}, {"add_space_prefix": False}])
def test_sentencepiece_text_in_pieces_gives_the_ids_of_the_whole(options):
    tokenizer = Tokenizer(pack_vocab(sentencepiece(**options)))
    rng = random.Random(SEED)
    data = mixed_text(rng, 2 * WAITING).replace(b"/", "▁".encode()).replace(b"$", b"</s>")
    for special in (False, True):
        expected = tokenizer.encode(data, special=special, affix=True)
        for sizes in ((3, 9000), (WAITING,)):
            assert in_pieces(tokenizer, data, sizes, special=special, affix=True) == expected


def test_special_tokens_are_found_across_pieces():
    metadata = byte_level(specials=[b"<|end|>", b"<|end|>>", b"ab", b"bcde", b"efg"],
                          users=[b"@@", b"\n\n", b"\n\n\n"])  # fmt: skip
    tokenizer = Tokenizer(pack_vocab(metadata))
    rng = random.Random(SEED)
    parts = [b"<|end|>", b">", b"ab", b"cde", b"fg", b"a", b"bc", b"@", b"\n", b" ", b"<|", b"end"]
    for _ in range(4):
        data = b"".join(rng.choices(parts, k=40000))
        assert in_pieces(tokenizer, data, (rng.randrange(1, 9000),), special=True) == (
            tokenizer.encode(data, special=True)
        )


SMALL = Tokenizer(pack_vocab(pairs("llama-bpe")))


@settings(max_examples=60)
@given(pad=st.integers(0, 40), tail=st.text(st.sampled_from(TEXT_ALPHABET)))
def test_what_lies_across_the_end_of_what_waits_is_not_cut(pad, tail):
    data = b"ab " * (WAITING // 3 - 20) + b"a" * pad + tail.encode()
    data += data
    assert in_pieces(SMALL, data, (WAITING,)) == SMALL.encode(data)


def test_too_little_room_for_the_ids_changes_nothing():
    data = b"the last of them " * 9000
    section, work = bytearray(SMALL.vocab.data), bytearray(_abi.KLLM_ENCODE_WORK_BYTES)
    pointers = [native.pointer(section), native.pointer(work)]
    n_taken, n_out = array("Q", [0]), array("Q", [0])
    native.kllm_encode_start(pointers[1], 0)
    ids, pos = [], 0

    def give(n_ids):
        room = array("I", [7] * n_ids + [7])
        rest = data[pos:]
        status = native.kllm_encode_piece(*pointers, native.pointer(rest), len(rest),
                                          native.pointer(n_taken), native.pointer(room), n_ids,
                                          native.pointer(n_out))  # fmt: skip
        return status, room

    while pos < len(data):
        status, room = give(3)
        if status == _abi.KLLM_ERR_SPACE:
            assert n_taken[0] == 0 and list(room) == [7] * 4
            need = n_out[0]
            assert give(need - 1)[0] == _abi.KLLM_ERR_SPACE
            status, room = give(need)
            assert n_out[0] == need
        assert status == _abi.KLLM_OK
        ids += room[: n_out[0]]
        pos += n_taken[0]
    room = array("I", bytes(4 * 70000))
    finish = (*pointers, native.pointer(room))
    assert native.kllm_encode_finish(*finish, 1, native.pointer(n_out)) == _abi.KLLM_ERR_SPACE
    assert native.kllm_encode_finish(*finish, n_out[0], native.pointer(n_out)) == _abi.KLLM_OK
    assert ids + list(room[: n_out[0]]) == SMALL.encode(data)


def test_finish_starts_anew():
    encoder = SMALL.stream_encoder()
    for _ in range(2):
        assert encoder.push("the last") == []
        assert encoder.finish() == SMALL.encode("the last")
