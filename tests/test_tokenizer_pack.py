"""What a vocabulary can get wrong: cases 46 to 55 of the list of malformed files."""

from array import array

import pytest

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.tokenizer import tables
from kernel_llm.tokenizer.pre_names import pre_names
from kernel_llm.tokenizer.section import pack_vocab
from tokenizer import Vocab
from vocabularies import KEY, byte_level, check, encoder, sentencepiece

FORMAT, RANGE, UNSUPPORTED = _abi.KLLM_ERR_FORMAT, _abi.KLLM_ERR_RANGE, _abi.KLLM_ERR_UNSUPPORTED
MERGES = [(b"a", b"b"), (b"ab", b"c")]
N_BPE = 258
N_SPM = len(sentencepiece()[KEY + "tokens"])
DELETE = object()


def at(name, idx, value):
    """Returns a change of one element of an array."""

    def change(metadata):
        metadata[KEY + name] = list(metadata[KEY + name])
        metadata[KEY + name][idx] = value

    return change


def put(name, value):
    """Returns a change of a whole value; DELETE takes the key away."""

    def change(metadata):
        if value is DELETE:
            del metadata[KEY + name]
        else:
            metadata[KEY + name] = value

    return change


def bpe():
    return byte_level(merges=MERGES, specials=[b"<s>"])


BPE, SPM = bpe, sentencepiece
# (case of the list, title, vocabulary, change, code, what the message names)
CASES = [
    (46, "model missing", BPE, put("model", DELETE), FORMAT, "tokenizer.ggml.model"),
    (46, "model unknown", BPE, put("model", "rwkv"), UNSUPPORTED, "'rwkv'"),
    (46, "model of another type", BPE, put("model", 7), FORMAT, "tokenizer.ggml.model"),
    (46, "pre unknown", BPE, put("pre", "gpt-9"), UNSUPPORTED, "'gpt-9'; known: codeshell, co"),
    (46, "pre of another type", BPE, put("pre", 1), FORMAT, "tokenizer.ggml.pre"),
    (47, "tokens missing", BPE, put("tokens", DELETE), FORMAT, "tokenizer.ggml.tokens"),
    (47, "tokens empty", BPE, put("tokens", []), RANGE, "tokenizer.ggml.tokens"),
    (47, "tokens a string", BPE, put("tokens", b"abc"), FORMAT, "tokenizer.ggml.tokens"),
    (47, "a token an integer", BPE, at("tokens", 3, 5), FORMAT, "tokenizer.ggml.tokens[3]"),
    (47, "tokens of integers", BPE, put("tokens", array("i", [1, 2])), FORMAT, "tokens"),
    (48, "scores missing", SPM, put("scores", DELETE), FORMAT, "tokenizer.ggml.scores"),
    (48, "scores of bytes", SPM, put("scores", array("B", bytes(N_SPM))), FORMAT, "scores"),
    (48, "scores too few", SPM, put("scores", [0.0]), FORMAT, "scores: has 1 elements"),
    (48, "a score not finite", SPM, at("scores", 4, float("nan")), FORMAT, "scores[4]"),
    (48, "a score a string", SPM, at("scores", 4, "x"), FORMAT, "scores[4]"),
    (48, "types too few", BPE, put("token_type", [1]), FORMAT, "token_type: has 1 elements"),
    (48, "types of bytes", BPE, put("token_type", array("B", bytes(N_BPE + 1))), FORMAT,
     "token_type"),
    (48, "a type a float", BPE, at("token_type", 2, 1.0), FORMAT, "token_type[2]"),
    (49, "a type too high", BPE, at("token_type", 2, 7), FORMAT, "token_type[2]: 7"),
    (49, "a type negative", BPE, at("token_type", 2, -1), FORMAT, "token_type[2]: -1"),
    (50, "a byte token with a sign", SPM, at("tokens", 9, b"<0x-1>"), FORMAT, "tokens[9]"),
    (50, "a byte token of no digits", SPM, at("tokens", 9, b"<0xZZ>"), FORMAT, "tokens[9]"),
    (50, "a byte token too short", SPM, at("tokens", 9, b"<0x1>"), FORMAT, "tokens[9]"),
    (50, "a byte token with a tail", SPM, at("tokens", 9, b"<0x06>\n"), FORMAT, "tokens[9]"),
    (50, "a byte token missing", SPM, at("token_type", 9, 1), FORMAT, "<0x06>"),
    (51, "bos past the end", BPE, put("bos_token_id", N_BPE + 1), RANGE, "bos_token_id: 259"),
    (51, "eos negative", BPE, put("eos_token_id", -1), RANGE, "eos_token_id"),
    (51, "unk past the end", BPE, put("unknown_token_id", 2**31), RANGE, "unknown_token_id"),
    (51, "pad past the end", BPE, put("padding_token_id", 9999), RANGE, "padding_token_id"),
    (51, "eot past the end", BPE, put("eot_token_id", 9999), RANGE, "eot_token_id"),
    (51, "bos a string", BPE, put("bos_token_id", "1"), FORMAT, "bos_token_id"),
    (52, "add_bos without bos", BPE, put("add_bos_token", True), FORMAT, "add_bos_token"),
    (52, "add_eos without eos", BPE, put("add_eos_token", True), FORMAT, "add_eos_token"),
    (52, "add_bos a number", BPE, put("add_bos_token", 1), FORMAT, "add_bos_token"),
    (53, "merges missing", BPE, put("merges", DELETE), FORMAT, "tokenizer.ggml.merges"),
    (53, "merges of integers", BPE, put("merges", array("i", [1])), FORMAT, "merges"),
    (53, "a merge an integer", BPE, at("merges", 1, 8), FORMAT, "merges[1]"),
    (53, "a merge without space", BPE, at("merges", 1, b"abc"), FORMAT, "merges[1]"),
    (53, "a merge without left", BPE, at("merges", 1, b" c"), FORMAT, "merges[1]"),
    (53, "a merge without right", BPE, at("merges", 1, b"ab "), FORMAT, "merges[1]"),
    (53, "a half unknown", BPE, at("merges", 1, b"ab xyz"), FORMAT, "merges[1]: b'xyz'"),
    (53, "a whole unknown", BPE, at("merges", 1, b"c ab"), FORMAT, "merges[1]: b'cab'"),
    (53, "a merge twice", BPE, at("merges", 1, b"a b"), FORMAT, "merges[1]"),
    (53, "too many merges", BPE, put("merges", [b"a b"] * (1 << 20)), RANGE, "merges"),
    (55, "a token too long", BPE, at("tokens", 3, b"x" * 1025), RANGE, "tokens[3]: has 1025"),
    (55, "a plain token empty", BPE, at("tokens", 3, b""), FORMAT, "tokens[3]"),
]  # fmt: skip


@pytest.mark.parametrize("case, title, vocabulary, change, code, where", CASES,
                         ids=[f"{case[0]}-{case[1]}" for case in CASES])  # fmt: skip
def test_a_fault_is_refused_by_its_key_and_index(case, title, vocabulary, change, code, where):
    metadata = vocabulary()
    pack_vocab(metadata)
    change(metadata)
    with pytest.raises(KllmError) as error:
        pack_vocab(metadata)
    assert error.value.code == code
    assert where in error.value.where


def test_default_ids_are_checked_as_given_ones_are():
    metadata = {
        KEY + "model": "llama",
        KEY + "tokens": [b"<unk>", b"a"],
        KEY + "scores": [0.0, 0.0],
        KEY + "token_type": [2, 1],
    }
    with pytest.raises(KllmError) as error:  # eos is 2 where the file does not say
        pack_vocab(metadata)
    assert (error.value.code, "eos_token_id: 2" in error.value.where) == (RANGE, True)


def test_every_case_from_46_to_55_is_here():
    accepted = {54}  # test_of_equal_tokens_text_goes_to_the_lowest_id
    assert {case[0] for case in CASES} | accepted == set(range(46, 56))


def test_of_equal_tokens_text_goes_to_the_lowest_id():
    metadata = byte_level(merges=MERGES)
    metadata[KEY + "tokens"] += [b"ab", b"a"]
    metadata[KEY + "token_type"] += [1, 1]
    both = encoder(pack_vocab(metadata))
    assert both.encode("ab a", affix=False) == [256, 32, 97]
    assert both.decode_bytes([258, 259]) == b"aba"
    metadata = sentencepiece()
    tokens = metadata[KEY + "tokens"]
    tokens[-1] = tokens[300]
    both = encoder(pack_vocab(metadata))
    assert len(tokens) - 1 not in both.encode(tokens[300].decode())


def test_a_wide_integer_or_an_i32_array_is_as_good():
    metadata = byte_level(merges=MERGES)
    metadata[KEY + "token_type"] = array("i", metadata[KEY + "token_type"])
    metadata[KEY + "bos_token_id"] = 3
    metadata["tokenizer.chat_template"] = b"unknown keys are not looked at"
    assert Vocab(pack_vocab(metadata)).bos == 3


def test_a_name_given_wins_over_the_name_in_the_file():
    metadata = byte_level(pre="gpt-9", merges=MERGES)
    assert Vocab(pack_vocab(metadata, pre="qwen2")).pre == _abi.KLLM_PRE_QWEN2
    with pytest.raises(KllmError) as error:
        pack_vocab(metadata, pre="nothing")
    assert all(name in error.value.where for name in pre_names())


def test_tokens_that_end_a_turn_are_control_tokens_and_eot():
    metadata = byte_level(merges=MERGES)
    metadata[KEY + "tokens"].append(b"<|im_end|>")
    metadata[KEY + "token_type"].append(1)
    vocab = Vocab(pack_vocab(metadata))
    assert (vocab.eot, vocab.type(258)) == (258, _abi.KLLM_TOKEN_CONTROL)


def test_packing_the_same_twice_gives_the_same_bytes():
    for metadata in (byte_level(merges=MERGES), sentencepiece()):
        section = pack_vocab(metadata)
        assert section == pack_vocab(metadata)
        assert len(section) % _abi.KLLM_ALIGN == 0
        assert check(section) == (0, 0)


def test_texts_whose_hashes_fall_together_are_refused():
    golden, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    lo, hi = 0x0123456789ABCDEF, 0x11223344
    mixed = tables.mix(lo) - 1  # so that it adds up to the same with hi + 1
    product = mixed ^ mixed >> 32
    other = product * pow(golden, -1, 1 << 64) & mask
    assert tables.mix(other) == mixed
    texts = [
        a.to_bytes(8, "little") + b.to_bytes(4, "little") for a, b in ((lo, hi), (other, hi + 1))
    ]
    with pytest.raises(KllmError, match="fall together") as caught:
        tables.hash_words({text: id for id, text in enumerate(texts)})
    assert caught.value.code == UNSUPPORTED
