"""Encoding and decoding: C against the twin, the slow oracle, the tokenizers library."""

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import SEED
from kernel_llm import _abi
from kernel_llm.tokenizer import section
from kernel_llm.tokenizer.section import pack_vocab
from tokenizer.bpe_slow import merge_by_list, merge_by_score
from vocabularies import (
    KEY,
    STAGES,
    TEXT_ALPHABET,
    Both,
    byte_level,
    encoder,
    oracle,
    pairs,
    raw,
    read_metadata,
    sentencepiece,
)

PUBLISHED = ("gpt-2", "llama-bpe", "llama-spm", "qwen2")
TEXT = st.text(st.sampled_from(TEXT_ALPHABET)) | st.text()
BYTES = TEXT.map(str.encode) | st.binary() | st.lists(
    st.sampled_from([b"\xe4\xb8", b"\xad", b" ", b"a", b"\xff", b"\x00", b"'s", b"\xe2\x96\x81"])
).map(b"".join)  # fmt: skip


# Text that is read in blocks: mostly ASCII, with all that ends a word.
BLOCKS = st.lists(
    st.sampled_from([*"aZsS'  \n\r\t.,$/10é\u3000", " the", "tea", "'ll", "'Re", "\r\n", "    "]),
    min_size=16, max_size=200,
).map("".join)  # fmt: skip


@pytest.fixture(scope="module")
def spm():
    return Both(sentencepiece())


@pytest.fixture(scope="module")
def published(shared_data):
    made = {}

    def get(name):
        if name not in made:
            path = shared_data / "vocab" / f"ggml-vocab-{name}.gguf"
            made[name] = Both(read_metadata(path))
        return made[name]

    return get


# ---------------------------------------------------------------------------- against the world


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_texts_encode_to_the_published_ids(published, shared_data, name):
    both = published(name)
    path = shared_data / "vocab" / f"ggml-vocab-{name}.gguf"
    texts = path.with_suffix(".gguf.inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
    expected = path.with_suffix(".gguf.out").read_text().split("\n")
    assert len(texts) > 40
    for text, ids in zip(texts, expected, strict=False):
        assert both.encode(text) == [int(id) for id in ids.split()], text
        assert both.decode_bytes(both.encode(text)) == text


@pytest.mark.parametrize("pre", sorted(STAGES))
def test_ids_are_those_of_the_tokenizers_library(pre):
    both = Both(pairs(pre))
    library = oracle(both.metadata, pre)

    @settings(max_examples=300)
    @given(text=TEXT)
    def check(text):
        ids = both.encode(text)
        assert ids == library.encode(text, add_special_tokens=False).ids
        assert both.decode_bytes(ids) == text.encode()

    check()


@pytest.mark.parametrize("pre", sorted(STAGES))
def test_blocks_of_ascii_are_cut_as_in_the_tokenizers_library(pre):
    metadata = pairs(pre, 2)
    ours = encoder(pack_vocab(metadata))
    library = oracle(metadata, pre)

    @settings(max_examples=600)
    @given(text=BLOCKS)
    @example(text="a" * 62 + "'s" + " b" * 40)
    @example(text="a" * 61 + " \n \n" + " \n\n  b" * 20)
    @example(text="x;\n\n  \n y" * 12)
    @example(text="WORLD'sté" * 3 + "camelCase don't'S HTTPServer'LLx" * 3)
    @example(text="a!/\n/b\n//c;\r\n/ d" * 6)
    def check(text):
        assert ours.encode(text, affix=False) == library.encode(text, add_special_tokens=False).ids

    check()


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2"])
def test_real_vocabularies_encode_as_the_tokenizers_library_does(published, name):
    both = published(name)
    library = oracle(both.metadata, name)

    @settings(max_examples=200)
    @given(text=TEXT)
    def check(text):
        assert both.c.encode(text, affix=False) == library.encode(text).ids

    check()
    source = Path(oracle.__code__.co_filename).read_text()
    for text in (source, " ".join(source.split()), source.upper(), source.replace(" ", "")):
        assert both.c.encode(text, affix=False) == library.encode(text).ids


def test_smollm_encodes_as_the_tokenizers_library_does(smollm2):
    both = Both(read_metadata(smollm2))
    library = oracle(both.metadata, "smollm")

    @settings(max_examples=300)
    @given(text=TEXT)
    @example(text="don't stop  12 345\t\x04a\x04b!")  # \x04 has no token in this vocabulary
    def check(text):
        assert both.encode(text) == library.encode(text).ids

    check()


# --------------------------------------------------------------------------------- against itself


def test_byte_level_merges_are_those_of_the_slow_oracle():
    metadata = pairs()
    both = Both(metadata)
    tokens = {both.twin.vocab.text(id): id for id in reversed(range(both.twin.vocab.n_vocab))}
    merges = {}
    for rank in range(both.twin.vocab.n_merge):
        left, right = metadata[KEY + "merges"][rank].split(b" ")
        merges[raw(left.decode()), raw(right.decode())] = rank
    rng = random.Random(SEED)
    for _ in range(300):
        word = bytes(rng.choices(b"aestrlvmSTRA", k=rng.randrange(1, 90)))
        assert both.encode(word) == [tokens[part] for part in merge_by_list(word, merges)]


def test_sentencepiece_merges_are_those_of_the_slow_oracle(spm):
    vocab = spm.twin.vocab
    texts = {vocab.text(id): id for id in range(259, vocab.n_vocab)}
    scores = {text: spm.metadata[KEY + "scores"][id] for text, id in texts.items()}
    rng = random.Random(SEED)
    for _ in range(300):
        text = "".join(rng.choices("etaoinshrdé中 xß🦙", k=rng.randrange(1, 60)))
        ids = []
        for part in merge_by_score([char.encode() for char in " " + text], scores):
            fallback = [3 + byte for byte in part]  # <0x00> is token 3
            ids += [texts[part]] if part in texts else fallback
        assert spm.encode(text) == ids


@settings(max_examples=400)
@given(data=BYTES)
def test_any_bytes_come_back(spm, data):
    for both in (PAIRS, spm):
        ids = both.encode(data)
        if both is spm:
            data = data.replace(b"\xe2\x96\x81", b" ")  # a visible space is a space
        assert both.decode_bytes(ids) == data


PAIRS = Both(pairs("llama-bpe", seed=2))
LONG_WORDS = {
    "one letter": lambda rng: b"a" * 20001,
    "two letters": lambda rng: b"ab" * 9999,
    "two runs": lambda rng: b"a" * 9000 + b"e" * 9000,
    "random letters": lambda rng: bytes(rng.choices(b"aestrlvmSTRA", k=20000)),
    "random bytes": lambda rng: bytes(rng.choices(range(128, 256), k=20000)),
    "ideographs": lambda rng: "".join(rng.choices("中é", k=9000)).encode(),
    "spaces": lambda rng: b" " * 12345,
    "punctuation": lambda rng: bytes(rng.choices(b"'/.,$", k=15000)),
    "words of 65 to 120 bytes": lambda rng: b" ".join(
        bytes(rng.choices(b"aestr", k=rng.randrange(65, 120))) for _ in range(60)),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_merges_that_go_first_change_nothing(monkeypatch, seed):
    # Few bytes, many merges, in an order no training would give; the twin does without the table.
    monkeypatch.setattr(section, "LEAST_FOR_FIRSTS", 1)
    rng = random.Random(f"{SEED} {seed}")
    alphabet = [b"a", b"b", b"-", b" ", b"\n", "é".encode()[:1]][: rng.randrange(2, 7)]
    parts, merges = list(alphabet), set()
    for _ in range(rng.randrange(1, 40)):
        merges.add((rng.choice(parts), rng.choice(parts)))
        parts += [left + right for left, right in merges if len(left + right) < 9]
    merges = sorted(merges, key=lambda merge: len(merge[0] + merge[1]) + rng.choice((0, 0, 9)))
    metadata = byte_level(merges=merges)
    if seed % 3 == 0:  # a byte without a token
        metadata[KEY + "tokens"][ord("=")] = b"no byte"
        alphabet.append(b"=")
    both = Both(metadata)
    assert both.twin.vocab.flags & _abi.KLLM_VOCAB_FIRSTS
    for n in [*range(1, 16), *range(16, 300, 25)]:
        both.encode(b"".join(rng.choices(alphabet, k=n)))
        both.encode(rng.choice(alphabet) * n)


@pytest.mark.parametrize("kind", sorted(LONG_WORDS))
def test_words_longer_than_the_window_encode_as_in_the_library(kind):
    data = LONG_WORDS[kind](random.Random(SEED))
    ids = PAIRS.c.encode(data, affix=False)
    assert PAIRS.c.decode_bytes(ids) == data
    if kind != "random bytes":
        assert ids == oracle(PAIRS.metadata, "llama-bpe").encode(data.decode()).ids


@pytest.mark.parametrize("kind", sorted(LONG_WORDS))
def test_long_sentencepiece_text_encodes_as_in_the_twin(spm, kind):
    # Spaces are what it is cut at; without SPACE_SPLITS the whole text is one word.
    data = LONG_WORDS[kind](random.Random(SEED))[:6000]
    no_splits = sentencepiece()
    no_splits[KEY + "tokens"][-1] = "a▁b".encode()
    for both in (spm, Both(no_splits)):
        assert both.decode_bytes(both.encode(data)) == data


def test_bytes_without_a_token_are_left_out_as_in_the_library():
    metadata = byte_level(merges=[(b"a", b"b")])
    del metadata[KEY + "tokens"][4], metadata[KEY + "token_type"][4]
    both = Both(metadata)
    library = oracle(metadata, "gpt-2")
    for text in ("\x04", "x\x04y", "!\x04!"):
        assert both.encode(text) == library.encode(text).ids


def test_sentencepiece_without_byte_tokens_gives_the_unknown_token():
    metadata = {
        KEY + "model": "llama", KEY + "tokens": [b"<unk>", b"<s>", b"</s>", "▁".encode(), b"a"],
        KEY + "scores": [0.0] * 5, KEY + "token_type": [2, 3, 3, 1, 1],
    }  # fmt: skip
    assert Both(metadata).encode("a中a") == [3, 4, 0, 4]
