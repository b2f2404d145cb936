"""Wrong GGUF files: each gives its own error, in bounded reads and memory, and nothing else."""

import io
import re
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_llm.errors import NAMES, KllmError
from kernel_llm.gguf.hyper import hyper_parameters
from kernel_llm.gguf.read import GGUF
from kernel_llm.gguf.weights import WeightFile, scan
from kernel_llm.tokenizer.section import pack_vocab
from malformed.builder import ARR, STR, U32, valid
from malformed.cases import ACCEPTED, CASES

# A key of the metadata takes some hundred bytes as Python objects where the file has at least 13.
MEMORY_FACTOR = 64
MEMORY_BYTES = 200_000


class CountingFile(io.BytesIO):
    """Counts what is read from it."""

    def __init__(self, data):
        super().__init__(data)
        self.n_read = self.n_call = 0

    def read(self, n_bytes=-1):
        assert n_bytes >= 0
        data = super().read(n_bytes)
        self.n_read += len(data)
        self.n_call += 1
        return data


def read_bounded(data):
    """Reads a file; checks that it takes no more reads and memory than its size allows."""
    file = CountingFile(data)
    tracemalloc.start()
    try:
        return GGUF(file)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= MEMORY_FACTOR * len(data) + MEMORY_BYTES
        assert file.n_read <= len(data)
        assert file.n_call <= len(data) + 8


def load(data, path):
    """Does all that is done with a file before its weights are packed."""
    gguf = read_bounded(data)
    hyper = hyper_parameters(gguf)
    path.write_bytes(data)
    with WeightFile(path, gguf.n_bytes) as file:
        scan(file, gguf.tensors)
    try:
        pack_vocab(gguf.metadata)
    except KllmError as error:
        raise gguf.fields.located(error) from None
    return hyper


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.number}-{c.title[:60]}")
def test_malformed_is_refused(case, tmp_path, monkeypatch):
    file = valid(case.vocab)
    file.build()
    data = case.change(file)
    data = data if isinstance(data, bytes) else file.build()
    for name, value in case.limits.items():
        monkeypatch.setattr(f"kernel_llm.{name}", value)
    with pytest.raises(KllmError) as caught:
        load(data, tmp_path / "case.gguf")
    assert NAMES[caught.value.code] == case.code
    assert case.needle in caught.value.where
    if "missing" not in caught.value.where and "default" not in case.title:
        assert "at byte " in caught.value.where
    if case.mark is not None:
        assert f"at byte {file.marks[case.mark][0]}:" in caught.value.where


ACCEPTED_IDS = [f"{number}-{title[:50]}" for number, title, *_ in ACCEPTED]


@pytest.mark.parametrize("number, title, change, vocab", ACCEPTED, ids=ACCEPTED_IDS)
def test_malformed_is_not_said_of_valid_files(number, title, change, vocab, tmp_path):
    file = valid(vocab)
    data = change(file)
    hyper = load(data if isinstance(data, bytes) else file.build(), tmp_path / "case.gguf")
    assert (hyper.n_layer, hyper.n_embd, hyper.n_ff) == (1, 32, 32)


def test_malformed_covers_every_case_of_the_list():
    numbers = {case.number for case in CASES} | {number for number, *_ in ACCEPTED}
    assert numbers >= set(range(1, 56))


def test_malformed_accepts_a_file_of_vocabulary_alone():
    file = valid()
    file.infos.clear()
    data = file.build()
    for n_bytes in (len(data), sum(file.marks["llama.rope.freq_base"])):  # without the padding
        gguf = GGUF(io.BytesIO(data[:n_bytes]))
        assert gguf.tensors == []
        assert pack_vocab(gguf.metadata)


def test_malformed_truncation_at_every_byte_is_refused():
    data = valid().build()
    for n_bytes in range(len(data)):
        with pytest.raises(KllmError):
            GGUF(io.BytesIO(data[:n_bytes]))


def test_malformed_fields_at_their_extremes_give_an_error_or_a_model():
    file = valid()
    data = file.build()
    assert len(file.marks) > 100
    for mark, (off, n_bytes) in file.marks.items():
        if mark.endswith(" elements") or n_bytes > 8:
            continue
        top = (1 << 8 * n_bytes) - 1
        for value in (0, 1, top - 1, top, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1):
            field = (value & top).to_bytes(n_bytes, "little")
            try:
                gguf = read_bounded(data[:off] + field + data[off + n_bytes :])
                hyper_parameters(gguf)
            except KllmError as error:
                assert error.where


def test_malformed_file_that_shrinks_while_read_is_refused():
    data = valid().build()

    class Shrinking(io.BytesIO):
        def read(self, n_bytes=-1):
            return super().read(n_bytes)[: max(0, 500 - self.tell())]

    with pytest.raises(KllmError, match="became shorter"):
        GGUF(Shrinking(data))


@settings(max_examples=400)
@given(st.data())
def test_malformed_bytes_changed_at_random_give_an_error_or_a_model(data):
    raw = bytearray(valid().build())
    for _ in range(data.draw(st.integers(1, 4))):
        off = data.draw(st.integers(0, 2000))
        raw[off] = data.draw(st.integers(0, 255))
    try:
        gguf = read_bounded(bytes(raw))
        hyper_parameters(gguf)
        pack_vocab(gguf.metadata)
    except KllmError as error:
        assert error.where


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_malformed_bytes_of_any_kind_give_an_error_or_a_file(tail):
    for head in (b"", b"GGUF", b"GGUF" + struct.pack("<IQQ", 3, 1, 1)):
        try:
            read_bounded(head + tail)
        except KllmError as error:
            assert error.where


def test_malformed_alignment_counts_from_the_last_key_too():
    file = valid()
    file.alignment = 128
    file.set("x", (ARR, STR), ["y"])
    file.set("general.alignment", U32, 128)
    gguf = GGUF(io.BytesIO(file.build()))
    assert gguf.alignment == 128
    assert all(tensor.off % 128 == 0 for tensor in gguf.tensors)


def test_malformed_cases_are_those_of_the_document():
    text = (Path(__file__).parent.parent / "docs" / "gguf.md").read_text()
    listed = [line.split(".")[0] for line in text.splitlines() if re.match(r"\d+\. ", line)]
    assert listed == [str(n) for n in range(1, 56)]
