"""Writes a vocab section as tokenizer.json, which the tokenizers library reads. CPython only."""

import base64
import struct

from kernel_llm import _abi
from kernel_llm.tokenizer import pre_patterns
from kernel_llm.tokenizer.tables import byte_of_char
from tokenizer.vocab import TOKEN_ID, Vocab

_CHAR_OF_BYTE = {byte: char for char, byte in byte_of_char.items()}
_SPECIAL = (_abi.KLLM_TOKEN_CONTROL, _abi.KLLM_TOKEN_UNKNOWN, _abi.KLLM_TOKEN_USER)
_MARK = "\u2581"


def to_json(section):
    """
    Returns the object of a tokenizer.json file for the bytes of a vocab section.

    Tokens that share their text with a lower id cannot stand there and are left out.
    """
    vocab = Vocab(section)
    if vocab.kind == _abi.KLLM_VOCAB_BPE:
        parts = _byte_level(vocab)
    elif vocab.kind == _abi.KLLM_VOCAB_SPM:
        parts = _sentencepiece(vocab)
    else:
        parts = _unigram(vocab)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [_added(vocab, id) for id in range(vocab.n_vocab)
                         if vocab.type(id) in _SPECIAL and vocab.text(id)],
        **parts, "post_processor": _affixes(vocab),
    }  # fmt: skip


def _text(data):
    return data.decode("utf-8", "replace")


def _added(vocab, id):
    return {
        "id": id, "content": _text(vocab.text(id)), "single_word": False, "lstrip": False,
        "rstrip": vocab.strips(id), "normalized": False,
        "special": vocab.type(id) != _abi.KLLM_TOKEN_USER,
    }  # fmt: skip


def _affixes(vocab):
    """Returns the post-processor that puts bos and eos around a text, None if neither."""
    before = [vocab.bos] if vocab.flags & _abi.KLLM_VOCAB_ADD_BOS else []
    after = [vocab.eos] if vocab.flags & _abi.KLLM_VOCAB_ADD_EOS else []
    if not before and not after:
        return None

    def around(sequence, type_id):
        def special(id):
            return {"SpecialToken": {"id": _text(vocab.text(id)), "type_id": type_id}}

        return [*map(special, before), {"Sequence": {"id": sequence, "type_id": type_id}},
                *map(special, after)]  # fmt: skip

    names = {_text(vocab.text(id)): id for id in before + after}
    return {
        "type": "TemplateProcessing", "single": around("A", 0),
        "pair": around("A", 0) + around("B", 1),
        "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]}
                           for text, id in names.items()},
    }  # fmt: skip


def _table(vocab, shown):
    """Returns {text: id} of all tokens, of equal texts the lowest id."""
    table = {}
    for id in range(vocab.n_vocab):
        is_special = vocab.type(id) in _SPECIAL
        table.setdefault(_text(vocab.text(id)) if is_special else shown(id), id)
    return table


def _byte_level(vocab):
    def shown(id):
        return "".join([_CHAR_OF_BYTE[byte] for byte in vocab.text(id)])

    merges = [None] * vocab.n_merge
    slots = struct.unpack_from(f"<{1 << vocab.pair_bits}Q", vocab.data, vocab.pair_off)
    for slot in slots:
        if slot != 0xFFFFFFFFFFFFFFFF:
            merges[slot & 0xFFFFF] = [shown(slot >> 40), shown(slot >> 20 & 0xFFFFF)]
    patterns = pre_patterns.PATTERNS[vocab.pre]
    steps = [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
              "invert": False} for pattern in patterns]  # fmt: skip
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
             "use_regex": False}  # fmt: skip
    return {
        "normalizer": None, "decoder": level,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, level]},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": bool(vocab.flags & _abi.KLLM_VOCAB_WORDS_FIRST),
            "vocab": _table(vocab, shown), "merges": [pair for pair in merges if pair],
        },
    }  # fmt: skip


def _piece(vocab, id):
    """Returns a token as SentencePiece's files show it."""
    if vocab.type(id) == _abi.KLLM_TOKEN_BYTE:
        return "<0x%02X>" % vocab.text(id)[0]
    return _text(vocab.text(id)).replace(" ", _MARK)


def _unigram(vocab):
    char_map = bytes(vocab.data[vocab.map_off : vocab.map_off + vocab.map_bytes])
    steps = []
    if char_map:
        text = base64.b64encode(char_map).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": text})
    if vocab.flags & _abi.KLLM_VOCAB_FEW_SPACES:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    prefix = "always" if vocab.flags & _abi.KLLM_VOCAB_SPACE_PREFIX else "never"
    space = {"type": "Metaspace", "replacement": _MARK, "prepend_scheme": prefix, "split": True}
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps} if steps else None,
        "pre_tokenizer": space, "decoder": space,
        "model": {
            "type": "Unigram", "unk_id": vocab.unk,
            "vocab": [[_piece(vocab, id), vocab.value(id)] for id in range(vocab.n_vocab)],
            "byte_fallback": vocab.byte_token(0) != 0xFFFFFFFF,
        },
    }  # fmt: skip


def _sentencepiece(vocab):
    def shown(id):
        return _piece(vocab, id)

    table = _table(vocab, shown)
    words = {}
    slots = struct.iter_unpack("<QII", vocab.data[vocab.word_off :][: 16 << vocab.word_bits])
    for _, _, token in slots:
        if token:
            words[shown(token & TOKEN_ID)] = token & TOKEN_ID
    merges = []
    for text, id in words.items():
        for cut in range(1, len(text)):
            if text[:cut] in words and text[cut:] in words:
                merges.append((vocab.score(id), cut, text[:cut], text[cut:]))
    merges.sort()
    unk = None if vocab.unk >= vocab.n_vocab else _text(vocab.text(vocab.unk))
    prefix = bool(vocab.flags & _abi.KLLM_VOCAB_SPACE_PREFIX)
    space = {"type": "Replace", "pattern": {"String": " "}, "content": _MARK}
    steps = [{"type": "Prepend", "prepend": _MARK}, space] if prefix else [space]
    back = [{"type": "Replace", "pattern": {"String": _MARK}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]  # fmt: skip
    if prefix:
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": back},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": vocab.byte_token(0) != 0xFFFFFFFF, "ignore_merges": False,
            "vocab": table, "merges": [[left, right] for _, _, left, right in merges],
        },
    }  # fmt: skip
