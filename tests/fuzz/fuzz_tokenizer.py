"""
The tokenizer on any text, for long: `make fuzz`, or `python tests/fuzz/fuzz_tokenizer.py`.

Every pre-tokenizer against the tokenizers library, SentencePiece and unigram against the readable
twin, text in pieces against the whole, decoding against what was encoded; then damaged
vocabularies under the sanitizers. Stops at the first difference, with the smallest text that shows
it.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from damaged import run_damaged
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import build
from kernel_llm import Tokenizer
from kernel_llm._abi import KLLM_STREAM_BYTES, KLLM_VOCAB_UNIGRAM
from kernel_llm.terminal import run_command
from kernel_llm.tokenizer.section import pack_vocab
from tokenizer import Tokenizer as Twin
from vocabularies import MAP, STAGES, TEXT_ALPHABET, oracle, pairs, sentencepiece, unigram

RUNS = st.tuples(st.text(st.sampled_from(TEXT_ALPHABET), min_size=1, max_size=4),
                 st.integers(1, 3000)).map(lambda pair: pair[0] * pair[1])  # fmt: skip
TEXT = st.text(st.sampled_from(TEXT_ALPHABET)) | st.text() | st.lists(
    st.text(st.sampled_from(TEXT_ALPHABET), max_size=9) | st.text(max_size=4) | RUNS, max_size=6
).map("".join)  # fmt: skip


def check_all(check, strategy, n_case, number):
    """Runs check(text) on n_case texts of a strategy."""
    run = given(strategy)(check)
    run = settings(max_examples=n_case, deadline=None, database=None,
                   suppress_health_check=list(HealthCheck))(run)  # fmt: skip
    seed(number)(run)()


def in_pieces(tokenizer, data):
    """Returns the ids of data twice, first as a whole, then in pieces of 1, 2, 3 … bytes."""
    encoder = tokenizer.stream_encoder()
    ids = encoder.push(data)
    pos = 0
    for n_bytes in range(1, 40):
        ids += encoder.push(data[pos : pos + n_bytes])
        pos += n_bytes
    return ids + encoder.push(data[pos:]) + encoder.finish()


def byte_level(pre, n_case, number):
    """Byte-level BPE: the library, the way back, pieces."""
    metadata = pairs(pre, number)
    tokenizer = Tokenizer(pack_vocab(metadata))
    library = oracle(metadata, pre)

    def check(text):
        ids = tokenizer.encode(text)
        assert ids == library.encode(text, add_special_tokens=False).ids
        data = text.encode()
        assert tokenizer.decode_bytes(ids) == data
        assert in_pieces(tokenizer, data) == tokenizer.encode(data + data)

    check_all(check, TEXT, n_case, number)


def against_twin(metadata, n_case, number):
    """Any bytes: the readable twin, and pieces."""
    section = pack_vocab(metadata)
    tokenizer, twin = Tokenizer(section), Twin(section)

    def check(data):
        ids = tokenizer.encode(data, special=True, affix=True)
        if len(data) < 2000:
            assert ids == twin.encode(data, special=True, affix=True)
            assert tokenizer.decode_bytes(ids) == twin.decode_bytes(ids)
        # A unigram text without a space is cut where too much of it would have to wait.
        if tokenizer.vocab.kind != KLLM_VOCAB_UNIGRAM or 2 * len(data) < KLLM_STREAM_BYTES:
            assert in_pieces(tokenizer, data) == tokenizer.encode(data + data)

    check_all(check, TEXT.map(str.encode) | st.binary(), n_case, number)


def sanitized_program(folder):
    """Builds tests/native/check_tokenizer.c and the tokenizer under the sanitizers."""
    program = Path(folder, "check_tokenizer")
    target = build.host_target()
    build.run([target.cc, "-std=c11", "-O1", "-g", "-fno-strict-aliasing", *target.flags,
               "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
               f"-I{build.HEADER.parent}", f"-I{build.SOURCES / target.isa}", "-o", program,
               build.ROOT / "tests" / "native" / "check_tokenizer.c",
               *(build.SOURCES / "tokenizer").glob("*.c")])  # fmt: skip
    return program


def sanitized(sections, n_case, number):
    """Damaged sections under the address and undefined-behaviour sanitizers."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"section{idx}") for idx in range(len(sections))]
        for path, section in zip(paths, sections, strict=True):
            path.write_bytes(section)
        run_damaged(sanitized_program(folder), paths, n_case, number)


def main():
    parser = argparse.ArgumentParser(description="the tokenizer on any text, for long")
    parser.add_argument("--cases", type=int, default=100_000, metavar="N", help="texts in all")
    number = int(os.environ.get("SEED", "1"))
    n_case = max(1, parser.parse_args().cases // (len(STAGES) + 4))
    for pre in sorted(STAGES):
        print(f"fuzz_tokenizer: {n_case} texts, {pre}", flush=True)
        byte_level(pre, n_case, number)
    others = {
        "any bytes": pairs("llama-bpe", number), "sentencepiece": sentencepiece(),
        "unigram": unigram(number), "unigram with a character map":
        unigram(number, precompiled_charsmap=MAP),
    }  # fmt: skip
    for name, metadata in others.items():
        print(f"fuzz_tokenizer: {n_case} texts, {name}", flush=True)
        against_twin(metadata, n_case, number)
    sections = [pack_vocab(metadata) for metadata in (*others.values(), pairs("default"))]
    print(f"fuzz_tokenizer: {n_case} damaged vocabularies", flush=True)
    sanitized(sections, n_case, number)


if __name__ == "__main__":
    sys.exit(run_command("fuzz_tokenizer", main))
