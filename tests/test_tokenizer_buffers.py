"""kllm_encode and kllm_decode with buffers of any size and ids of any value."""

from array import array

import pytest

from kernel_llm import _abi
from kernel_llm import _native as native
from vocabularies import Both, pairs, sentencepiece

SPM = Both(sentencepiece())
PAIRS = Both(pairs("llama-bpe", seed=2))


def raw_encode(both, data, n_ids, flags=0):
    """Returns (status, n_out, ids) of kllm_encode with a canary after the ids."""
    ids = array("I", [0xABCDABCD] * (n_ids + 1))
    n_out = array("Q", [0])
    work = bytearray(_abi.KLLM_ENCODE_WORK_BYTES)
    status = native.kllm_encode(native.pointer(both.c.section), native.pointer(work),
                                native.pointer(data), len(data), flags, native.pointer(ids), n_ids,
                                native.pointer(n_out))  # fmt: skip
    assert ids[n_ids] == 0xABCDABCD
    return status, n_out[0], list(ids[:n_ids])


def test_too_small_an_output_says_how_much_is_needed_and_is_unchanged():
    for both in (PAIRS, SPM):
        text = b"the first, the last"
        expected = both.encode(text)
        for n_ids in range(len(expected)):
            status, n_out, ids = raw_encode(both, text, n_ids)
            assert (status, n_out) == (_abi.KLLM_ERR_SPACE, len(expected))
            assert ids == [0xABCDABCD] * n_ids
        for n_ids in (len(expected), len(expected) + 200):
            status, n_out, ids = raw_encode(both, text, n_ids)
            assert (status, n_out) == (_abi.KLLM_OK, len(expected))
            assert ids[: len(expected)] == expected


def test_empty_text_gives_nothing():
    assert raw_encode(PAIRS, b"", 0) == (_abi.KLLM_OK, 0, [])


def raw_decode(both, ids, n_bytes, flags=0):
    text = bytearray(b"\xaa" * (n_bytes + 1))
    n_out = array("Q", [0])
    ids = array("I", ids)
    status = native.kllm_decode(native.pointer(both.c.section), native.pointer(ids), len(ids),
                                flags, native.pointer(text), n_bytes,
                                native.pointer(n_out))  # fmt: skip
    assert text[n_bytes] == 0xAA
    return status, n_out[0], bytes(text[:n_bytes])


def test_decoding_into_too_little_space_changes_nothing():
    for both in (PAIRS, SPM):
        expected = b"the first, the last, the very long one of them all: " + b"a" * 90
        ids = both.encode(expected)
        need = len(both.decode_bytes(ids, start=False))
        for n_bytes in range(need):
            assert raw_decode(both, ids, n_bytes) == (_abi.KLLM_ERR_SPACE, need, b"\xaa" * n_bytes)
        assert raw_decode(both, ids, need)[:2] == (_abi.KLLM_OK, need)


@pytest.mark.parametrize("id", [100000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_decoding_an_id_past_the_vocabulary_is_refused(id):
    status, _, text = raw_decode(PAIRS, [65, id], 10)
    assert (status, text) == (_abi.KLLM_ERR_RANGE, b"\xaa" * 10)
