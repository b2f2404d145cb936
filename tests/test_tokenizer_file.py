"""Vocabularies from files of every kind and back, and the calls of Tokenizer."""

import base64
import itertools
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from kernel_llm import Tokenizer, _abi
from kernel_llm.errors import KllmError
from kernel_llm.tokenizer.section import pack_vocab
from vocabularies import KEY, STAGES, TEXT_ALPHABET, byte_level, oracle, pairs, raw, sentencepiece

TEXT = st.text(st.sampled_from(TEXT_ALPHABET)) | st.text()
TEXTS = ("", "the first, the last", "don't  stop\n\n 中é🦙", "\x00\u0301 12345'S", " a  b ")


def library_of(path):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


# --------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("pre", sorted(STAGES))
def test_a_written_file_means_the_same_to_the_tokenizers_library_and_to_us(tmp_path, pre):
    ours = Tokenizer(pack_vocab(pairs(pre)))
    path = tmp_path / "tokenizer.json"
    ours.save(path)
    again = Tokenizer.from_file(path)
    library = library_of(path)
    assert bytes(again.vocab.data) == bytes(ours.vocab.data)

    @settings(max_examples=60)
    @given(text=TEXT)
    def check(text):
        expected = library.encode(text, add_special_tokens=False)
        assert ours.encode(text, offsets=True) == (expected.ids, expected.offsets)
        assert ours.decode(expected.ids) == library.decode(expected.ids) == text

    check()


def test_a_written_sentencepiece_file_means_the_same_to_the_library_and_to_us(tmp_path):
    metadata = sentencepiece(add_bos_token=True, add_eos_token=True)
    n_token = len(metadata[KEY + "tokens"])
    metadata[KEY + "scores"] = [-float(id) for id in range(n_token)]  # no two are equal
    ours = Tokenizer(pack_vocab(metadata))
    path = tmp_path / "tokenizer.json"
    ours.save(path)
    library, again = library_of(path), Tokenizer.from_file(path)
    for text in (*TEXTS[1:], "shared aa inn\u00e9 at the start"):
        expected = library.encode(text).ids
        assert ours.encode(text, affix=True) == again.encode(text, affix=True) == expected
        assert expected[0] == 1 and expected[-1] == 2
        assert library.decode(expected) == ours.decode(expected) == text


def test_added_tokens_and_affixes_survive_a_written_file(tmp_path):
    metadata = byte_level(merges=[(b"t", b"h")], specials=[b"<|s|>", b"<|e|>"], users=[b"@@"])
    metadata |= {KEY + "add_bos_token": True, KEY + "bos_token_id": 257,
                 KEY + "add_eos_token": True, KEY + "eos_token_id": 258}  # fmt: skip
    ours = Tokenizer(pack_vocab(metadata))
    path = tmp_path / "tokenizer.json"
    ours.save(path)
    library, again = library_of(path), Tokenizer.from_file(path)
    ids = library.encode("the<|s|>@@ <|e|>").ids
    assert ids == [257, 256, 101, 257, 259, 32, 258, 258]
    for tokenizer in (ours, again):
        assert tokenizer.encode("the<|s|>@@ <|e|>", special=True, affix=True) == ids


def test_tokens_that_strip_take_the_white_space_after_them(tmp_path):
    metadata = byte_level(specials=[b"<|user|>", b"<s>"])
    plain = Tokenizer(pack_vocab(metadata))
    metadata["general.name"] = b"Phi-3-mini"  # whose files do not say it
    ours = Tokenizer(pack_vocab(metadata))
    path = tmp_path / "tokenizer.json"
    ours.save(path)
    library, again = library_of(path), Tokenizer.from_file(path)
    text = "a <|user|> \n\t<|user|>x <s> y <|user|>  "
    expected = library.encode(text)
    for tokenizer in (ours, again):
        assert tokenizer.encode(text, special=True) == expected.ids
        assert tokenizer.encode(text) == plain.encode(text)  # as plain text it takes nothing
    assert plain.encode(text, special=True) != expected.ids
    spans = ours.encode(text, special=True, offsets=True)[1]
    assert [text[start:end] for start, end in spans][-3:] == ["y", " ", "<|user|>"]
    long = text + "<|user|>" + " " * 100000 + "<|user|>b"
    encoder = ours.stream_encoder(special=True)
    assert encoder.push(long) + encoder.finish() == ours.encode(long, special=True)


def tiktoken_lines(metadata):
    """Returns a tiktoken file of a byte-level vocabulary, and {token bytes: rank}."""
    tokens = [raw(token.decode()) for token in metadata[KEY + "tokens"]]
    lines = [base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens)]
    return b"\n".join(lines) + b"\n", {token: rank for rank, token in enumerate(tokens)}


def merged_by_rank(word, ranks):
    """Returns the ids of a word as tiktoken has them: the lowest rank of two neighbours first."""
    if word in ranks:
        return [ranks[word]]
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        found = [ranks.get(a + b, 1 << 30) for a, b in itertools.pairwise(parts)]
        if not found or min(found) == 1 << 30:
            return [ranks[part] for part in parts]
        i = found.index(min(found))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_a_tiktoken_file_encodes_by_rank(tmp_path):
    metadata = pairs("gpt-2", seed=5)
    data, ranks = tiktoken_lines(metadata)
    path = tmp_path / "some.tiktoken"
    path.write_bytes(data)
    n_rank = len(ranks)
    tokenizer = Tokenizer.from_file(path, pre="gpt-2", specials={"<|endoftext|>": n_rank})
    assert tokenizer.n_vocab == n_rank + 1
    assert tokenizer.encode("<|endoftext|>", special=True) == [n_rank]
    cutter = oracle(metadata, "gpt-2").pre_tokenizer

    @settings(max_examples=200)
    @given(text=TEXT)
    def check(text):
        expected = []
        for word, _ in cutter.pre_tokenize_str(text):
            expected += merged_by_rank(raw(word), ranks)
        assert tokenizer.encode(text) == expected

    check()


def test_gguf_and_image_give_the_same_tokenizer(tiny_models, tmp_path):
    from kernel_llm.opening import show_progress
    from kernel_llm.pack import pack

    gguf = tiny_models("llama", "q8_0")
    image = tmp_path / "model.kllm"
    pack(gguf, image, show_progress)
    one, two = Tokenizer.from_file(gguf), Tokenizer.from_file(image)
    for text in TEXTS:
        assert one.encode(text) == two.encode(text)
    with pytest.raises(KllmError, match="UNSUPPORTED.*--pre"):
        Tokenizer.from_file(image, pre="gpt-2")


BPE = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


@pytest.mark.parametrize("content, code, what", [
    (b"{", "FORMAT", "no JSON"),
    (b"[" * 100000, "FORMAT", "no JSON"),
    (b"<html>", "FORMAT", "no JSON"),
    (b"[]", "FORMAT", "no object"),
    (b"\xef\xbb\xbf{}", "FORMAT", "model: is missing"),
    ({"model": {}}, "FORMAT", "model.type: is missing"),
    ({"model": {"type": "WordPiece"}}, "UNSUPPORTED", "WordPiece"),
    ({"model": []}, "FORMAT", "model"),
    ({"model": {"type": "BPE"}}, "FORMAT", "model.vocab"),
    ({"model": {"type": "BPE", "vocab": {"a": 0}}}, "FORMAT", "model.merges: is missing"),
    ({"model": {**BPE, "vocab": {"a": -1}}}, "FORMAT", "model.vocab"),
    ({"model": {**BPE, "vocab": {"a": 1 << 40}}}, "FORMAT", "model.vocab"),
    ({"model": {**BPE, "vocab": {"a": 1000000}}}, "RANGE", "model.vocab"),
    ({"model": {**BPE, "merges": [["a"]]}}, "FORMAT", r"model.merges\[0\]"),
    ({"model": {**BPE, "merges": [["a", "b"]]}, "pre_tokenizer": LEVEL}, "FORMAT", "merges"),
    ({"model": BPE}, "UNSUPPORTED", "pre_tokenizer"),
    ({"model": BPE, "pre_tokenizer": {**LEVEL, "add_prefix_space": True}}, "UNSUPPORTED",
     "add_prefix_space"),
    ({"model": BPE, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "x+"}}},
     "UNSUPPORTED", "'x"),
    ({"model": BPE, "pre_tokenizer": LEVEL, "normalizer": {"type": "Lowercase"}}, "UNSUPPORTED",
     "Lowercase"),
    ({"model": BPE, "pre_tokenizer": LEVEL, "added_tokens": [{"content": "x"}]}, "RANGE",
     "added_tokens"),
    ({"model": BPE, "pre_tokenizer": LEVEL, "added_tokens": [7]}, "FORMAT", "added_tokens"),
])  # fmt: skip
def test_a_broken_tokenizer_json_is_refused_by_name(tmp_path, content, code, what):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(KllmError, match=f"^{code}: .*{what}"):
        Tokenizer.from_file(path)


@pytest.mark.parametrize("line, code", [
    (b"YQ==", "FORMAT"), (b"YQ== x", "FORMAT"), (b"Y Q== 1", "FORMAT"), (b"%%%% 1", "FORMAT"),
    (b"YQ== -1", "RANGE"), (b"YQ== 99999999", "RANGE"),
])  # fmt: skip
def test_a_broken_tiktoken_file_is_refused_by_line(tmp_path, line, code):
    path = tmp_path / "some.tiktoken"
    path.write_bytes(b"Yg== 0\n" + line + b"\n")
    with pytest.raises(KllmError, match=f"{code}.*line 2"):
        Tokenizer.from_file(path, pre="gpt-2")


@pytest.mark.parametrize("content, what", [
    (b"", "is empty"), (b" \n", "is empty"), (b"hello world\n", "is no GGUF file"),
    (b"\x89PNG\r\n", "is no GGUF file"), (b"<!doctype html>", "is no GGUF file"),
    (b"{\"model\": ", "no JSON"), (b"[1", "no JSON"), (b"YQ== 0\n", "pre: a tiktoken file"),
])  # fmt: skip
def test_a_file_is_told_by_what_it_holds(tmp_path, content, what):
    path = tmp_path / "vocabulary"
    path.write_bytes(content)
    with pytest.raises(KllmError, match=f"{path}: .*{what}"):
        Tokenizer.from_file(path)


# --------------------------------------------------------------------------------------- calls

SMALL = Tokenizer(pack_vocab(pairs("llama-bpe")))


@settings(max_examples=100)
@given(data=st.binary())
def test_offsets_of_bytes_are_the_bytes_of_each_token(data):
    ids, spans = SMALL.encode(data, offsets=True)
    assert [data[start:end] for start, end in spans] == [SMALL.text_of(id) for id in ids]


def test_offsets_of_sentencepiece_leave_out_the_space_put_before():
    spm = Tokenizer(pack_vocab(sentencepiece(add_bos_token=True)))
    text = "the \u2581 中x</s>tea"
    ids, spans = spm.encode(text, special=True, affix=True, offsets=True)
    assert ids[0] == 1 and spans[0] == (0, 0)
    assert spans[ids.index(2)] == (text.index("</s>"), text.index("tea"))
    assert spans[-1][1] == len(text)
    assert all(a[1] >= b[0] for a, b in itertools.pairwise(spans))  # without gaps


def test_a_batch_of_sentencepiece_text_with_more_ids_than_bytes_is_encoded():
    spm = Tokenizer(pack_vocab(sentencepiece()))
    texts = ["\u2581" * 40, "the \u2581", "", "\x00" * 90] * 3
    assert spm.encode_batch(texts) == [spm.encode(text) for text in texts]


def test_a_larger_work_space_gives_the_same_ids():
    from kernel_llm._native_cffi import ffi, lib

    least = _abi.KLLM_ENCODE_WORK_BYTES
    text = " ".join(f"tea{i % 977}the{i}" for i in range(30000)).encode()
    found = []
    for work_bytes in (least, least + 1, 1 << 20):
        work = ffi.new("char[]", work_bytes)
        assert lib.kllm_encode_size(work, least - 1) == _abi.KLLM_ERR_RANGE
        assert not any(bytes(ffi.buffer(work)))
        assert lib.kllm_encode_size(work, work_bytes) == 0
        ids, n_out = ffi.new("uint32_t[]", len(text) + 8), ffi.new("uint64_t *")
        for _ in range(2):
            assert lib.kllm_encode(SMALL._vocab, work, text, len(text), 0, ids, len(ids),
                                   n_out) == 0  # fmt: skip
            found.append(ffi.unpack(ids, n_out[0]))
    assert all(ids == found[0] for ids in found)


def test_many_threads_share_one_tokenizer():
    texts = [("the first, the last %d " % i) * 400 for i in range(24)]
    expected = [SMALL.encode(text) for text in texts]
    assert SMALL.encode_batch(texts) == expected
    assert SMALL.encode_batch(texts, threads=5) == expected
    assert SMALL.encode_batch(iter(["a", "b"])) == [SMALL.encode("a"), SMALL.encode("b")]
    assert SMALL.encode_batch([]) == []
    short = ["tea %d" % i for i in range(20000)] + [""]
    assert SMALL.encode_batch(short, affix=True) == [SMALL.encode(t, affix=True) for t in short]
    found = []
    workers = [threading.Thread(target=lambda: found.append([SMALL.encode(t) for t in texts]))
               for _ in range(4)]  # fmt: skip
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 4


def test_count_is_the_number_of_ids():
    for text in (*TEXTS, "x" * 9000):
        assert SMALL.count(text) == len(SMALL.encode(text))


def test_lone_surrogates_are_their_three_bytes():
    assert SMALL.encode("a\ud800b") == SMALL.encode(b"a\xed\xa0\x80b")
    assert SMALL.stream_encoder().push("\ud800") == []


def test_what_a_command_line_could_not_decode_is_the_byte_it_was():
    encoder = SMALL.stream_encoder()
    ids = encoder.push("a\udcffb") + encoder.finish()
    assert ids == SMALL.encode("a\udcffb") == SMALL.encode(b"a\xffb")


def test_text_and_ids_may_be_any_buffer_and_nothing_else():
    ids = SMALL.encode("the first")
    for text in (bytearray(b"the first"), memoryview(b"the first")):
        assert SMALL.encode(text) == SMALL.encode_batch([text])[0] == ids
        assert SMALL.count(text) == len(ids)
    for many in (tuple(ids), iter(ids), np.array(ids)):
        assert SMALL.decode(many) == "the first"
    for call in (SMALL.encode, SMALL.count, SMALL.stream_encoder().push, SMALL.decode):
        for wrong in (5, None, [5.5]):
            with pytest.raises(TypeError):
                call(wrong)


@pytest.mark.parametrize("ids", [[-1], [1 << 31], [1 << 32], [1 << 70], [SMALL.n_vocab]])
def test_ids_past_the_vocabulary_are_refused(ids):
    with pytest.raises(KllmError, match="RANGE"):
        SMALL.decode(ids)


def test_a_damaged_section_is_refused():
    section = bytearray(SMALL.vocab.data)
    section[0] ^= 1
    with pytest.raises(KllmError, match="FORMAT.*byte 0"):
        Tokenizer(section)
    assert _abi.KLLM_VOCAB[1]["magic"][0] == 0


# -------------------------------------------------------------------------------- command line


def command(*arguments, data=b""):
    return subprocess.run([sys.executable, "-m", "tokenizer", *map(str, arguments)], cwd=ROOT,
                          input=data, capture_output=True)  # fmt: skip


def test_the_command_line_encodes_counts_decodes_and_trains(tmp_path):
    text = tmp_path / "text"
    text.write_text("the first of them, the last of them \u4e2d\n" * 50)
    vocab = tmp_path / "tokenizer.json"
    done = command("train", text, "-o", vocab, "--size", 270, "--pre", "qwen2", "--token", "<|e|>")
    assert done.returncode == 0, done.stderr
    tokenizer = Tokenizer.from_file(vocab)
    assert tokenizer.n_vocab == 270
    ids = library_of(vocab).encode(text.read_text()).ids
    assert tokenizer.encode(text.read_text()) == ids
    encoded = command("encode", vocab, text)
    assert [int(line) for line in encoded.stdout.split()] == ids
    assert json.loads(command("count", vocab, "--json", data=text.read_bytes()).stdout) == {
        "bytes": text.stat().st_size, "tokens": len(ids)}  # fmt: skip
    assert command("decode", vocab, data=encoded.stdout).stdout == text.read_bytes()
    shown = json.loads(command("encode", vocab, "--json", "--special", data=b"a<|e|>").stdout)
    assert shown["ids"] == tokenizer.encode("a<|e|>", special=True)


@pytest.mark.parametrize("arguments, data, what", [
    (["count", "missing.gguf"], b"", "missing.gguf: No such file"),
    (["decode", "VOCAB"], b"1 x2", "'x2' is no token id"),
    (["decode", "VOCAB"], b"1 " + b"7" * 5000 + b" 2", "'777777777777777777777'… is no token id"),
    (["decode", "VOCAB", "/dev/zero"], b"", "is no token id"),
    (["decode", "VOCAB"], b"1 -2", "RANGE"),
    (["decode", "VOCAB"], b"1 300", "RANGE"),
    (["count", "VOCAB", "no/such/file"], b"", "no/such/file: No such file"),
    (["train", "VOCAB", "-o", "no/such/file", "--size", "9"], b"", "RANGE: 9 tokens"),
    (["train", "VOCAB", "-o", "no/such/file", "--size", "few"], b"", "'few' is not a whole"),
    (["train", "VOCAB", "-o", "VOCAB"], b"", "would replace what it is made from"),
    (["convert", "VOCAB", "-o", "VOCAB"], b"", "would replace what it is made from"),
    (["convert", "VOCAB", "text", "-o", "no/such/file"], b"", "unrecognized arguments: text"),
])  # fmt: skip
def test_the_command_line_says_in_one_line_what_is_wrong(tmp_path, arguments, data, what):
    vocab = tmp_path / "tokenizer.json"
    Tokenizer(pack_vocab(byte_level())).save(vocab)
    done = command(*[vocab if word == "VOCAB" else word for word in arguments], data=data)
    message = done.stderr.decode()
    assert (done.returncode, message.count("\n")) == (2, 1) and what in message
    assert Tokenizer.from_file(vocab).n_vocab == 256
