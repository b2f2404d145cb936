"""kllm_vocab_check: nothing it lets through can make the encoder leave its memory or loop."""

import random
import struct
import subprocess
import sys

import pytest

from conftest import ROOT, SEED
from kernel_llm import _abi
from kernel_llm.tokenizer.section import pack_vocab
from vocabularies import MAP, byte_level, check, encoder, pairs, sentencepiece, unigram

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
import fuzz_tokenizer

SECTIONS = {
    "bpe": pack_vocab(byte_level(merges=[(b"a", b"b")], specials=[b"<s>"], users=[b"@@"])),
    "spm": pack_vocab(sentencepiece()),
    "unigram": pack_vocab(unigram(precompiled_charsmap=MAP)),
}
FIELDS = {name: place for name, place in _abi.KLLM_VOCAB[1].items() if isinstance(place[1], str)}


def changed(section, off, kind, value):
    section = bytearray(section)
    struct.pack_into(kind, section, off, value)
    return section


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_cut_short_is_refused_at_every_length(name):
    section = SECTIONS[name]
    step = max(1, len(section) // 3000)
    for n_bytes in [*range(600), *range(600, len(section), step), len(section) - 1]:
        assert check(section[:n_bytes] + b"")[0] == _abi.KLLM_ERR_FORMAT
    assert check(section + bytes(100))[0] == _abi.KLLM_OK


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_any_extreme_in_the_header_is_refused_or_harmless(name, field):
    off, kind = FIELDS[field]
    n_bits = 8 * struct.calcsize(kind)
    for value in {0, 1, 255, 2**20, 2**31 - 1, 2**31, 2**n_bits - 1, 2**n_bits - 8,
                  2**n_bits - 4096, 2 ** (n_bits - 1)}:  # fmt: skip
        section = changed(SECTIONS[name], off, kind, value)
        status, _ = check(section)
        if status == _abi.KLLM_OK:
            use(section)
        else:
            assert status in (_abi.KLLM_ERR_FORMAT, _abi.KLLM_ERR_ABI, _abi.KLLM_ERR_UNSUPPORTED)


@pytest.mark.parametrize("field, value, status", [
    ("magic", 0, _abi.KLLM_ERR_FORMAT),
    ("layout", 1, _abi.KLLM_ERR_ABI),
    ("kind", 4, _abi.KLLM_ERR_UNSUPPORTED),
    ("pre", 99, _abi.KLLM_ERR_UNSUPPORTED),
    ("bos", 100000, _abi.KLLM_ERR_FORMAT),
    ("text_off", 2**64 - 64, _abi.KLLM_ERR_FORMAT),
    ("word_off", 257, _abi.KLLM_ERR_FORMAT),
    ("word_bits", 60, _abi.KLLM_ERR_FORMAT),
])  # fmt: skip
def test_a_wrong_field_is_named_by_its_offset(field, value, status):
    off, kind = FIELDS[field]
    assert check(changed(SECTIONS["bpe"], off, kind, value)) == (status, off)


@pytest.mark.parametrize("table, entry, value", [
    ("start_off", "<I", 2**31), ("type_off", "<B", 7), ("byte_off", "<I", 5000),
    ("word_off", "<QII", (0, 0, 300 | 1 << 20)), ("pair_off", "<Q", 7),
    ("pair_off", "<Q", 5000 << 40), ("pair_off", "<Q", 1 << 60), ("pair_off", "<Q", 1 << 63),
    ("merge_off", "<I", 5000), ("special_off", "<I", 5000), ("class_off", "<H", 1),
])  # fmt: skip
def test_a_wrong_entry_of_a_table_is_named_by_its_offset(table, entry, value):
    section = bytearray(SECTIONS["bpe"])
    off = struct.unpack_from("<Q", section, FIELDS[table][0])[0]
    struct.pack_into(entry, section, off, *(value if isinstance(value, tuple) else (value,)))
    status, bad_off = check(section)
    assert status == _abi.KLLM_ERR_FORMAT
    assert off <= bad_off < off + 16


def test_a_merge_that_goes_first_has_a_rank():
    section = pack_vocab(pairs())
    off = struct.unpack_from("<Q", section, FIELDS["first_off"][0])[0]
    n_merge = struct.unpack_from("<I", section, FIELDS["n_merge"][0])[0]
    last = off + 8 * (_abi.KLLM_N_ASCII**2 - 1)
    assert check(changed(section, last, "<Q", (n_merge - 1) << 40))[0] == _abi.KLLM_OK
    assert check(changed(section, last, "<Q", n_merge << 40)) == (_abi.KLLM_ERR_FORMAT, last)


def test_a_hash_table_without_an_empty_slot_is_harmless():
    section = bytearray(SECTIONS["bpe"])
    for table, bits, slot in (("word_off", "word_bits", struct.pack("<QII", 1, 2, 1 << 20)),
                              ("pair_off", "pair_bits", struct.pack("<Q", 1 << 40))):  # fmt: skip
        off = struct.unpack_from("<Q", section, FIELDS[table][0])[0]
        n_slot = 1 << struct.unpack_from("<I", section, FIELDS[bits][0])[0]
        full = bytearray(section)
        full[off : off + n_slot * len(slot)] = slot * n_slot
        assert check(full)[0] == _abi.KLLM_OK
        use(full)


def use(section):
    """Encodes and decodes; what comes out does not matter."""
    coder = encoder(section)
    for text in (b"ab abab  <s>@@ \xe4\xb8\xad\xff", b"a" * 5000, bytes(range(256)) * 20):
        for special in (False, True):
            ids = coder.encode(text, special=special)
            coder.decode_bytes(ids, special=True, start=True)


def test_damage_anywhere_is_refused_or_harmless():
    rng = random.Random(SEED)
    sections = [*SECTIONS.values(), pack_vocab(pairs())]
    for _ in range(400):
        section = bytearray(rng.choice(sections))
        for _ in range(rng.choice((1, 1, 3, 200))):
            section[rng.randrange(256, len(section))] = rng.randrange(256)
        if check(section)[0] == _abi.KLLM_OK:
            use(section)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """check_tokenizer.c with sanitizers that stop at the first fault."""
    return fuzz_tokenizer.sanitized_program(tmp_path_factory.mktemp("native"))


@pytest.mark.parametrize("name", ["bpe", "spm", "unigram", "pairs", "stages"])
def test_damaged_sections_stay_in_their_memory_under_sanitizers(sanitized, tmp_path, name):
    more = {"pairs": lambda: pack_vocab(pairs()), "stages": lambda: pack_vocab(pairs("default"))}
    path = tmp_path / "section"
    path.write_bytes(SECTIONS[name] if name in SECTIONS else more[name]())
    done = subprocess.run([sanitized, path, "3000", str(SEED)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    n_used = int(done.stdout.split(",")[1].split()[0])
    assert n_used > 300
