"""
Packs a GGUF file's vocabulary into the vocab section of an image. CPython only.

The tables are those of struct kllm_vocab in kllm.h; docs/tokenizer.md explains them.
"""

import re
from array import array
from itertools import accumulate
from typing import NamedTuple

from kernel_llm import _abi
from kernel_llm.tokenizer import unicode_data
from kernel_llm.tokenizer.metadata import (
    KEY,
    KINDS,
    LOOKUP_FIRST,
    SPECIAL_TYPES,
    bpe_bytes,
    fail,
    read_char_map,
    read_flags,
    read_merges,
    read_model,
    read_pre,
    read_score_ranks,
    read_special_ids,
    read_tokens,
    read_types,
    read_values,
    scalar,
    spm_bytes,
    texts_of,
    types_with_strips,
)
from kernel_llm.tokenizer.tables import (
    NO_TOKEN,
    class_table,
    first_merges,
    hash_pairs,
    hash_words,
    merge_whole,
    section,
    spm_known,
    spm_whole,
)

LEAST_FOR_FIRSTS = 1000  # merges: the table is not worth its 128 KiB for fewer


class Vocab(NamedTuple):
    """What every kind of vocabulary has: of each token its text in the file, type and bytes."""

    tokens: list
    types: bytearray
    texts: list
    known: dict  # {token: its lowest id}
    unk: int


class Parts(NamedTuple):
    """What a kind of vocabulary has of its own: words of the word table, ranks of pairs."""

    words: dict
    ranks: dict
    fields: dict
    tables: dict


def _bpe_parts(metadata, vocab, lookup_first):
    tokens, types, texts, known, _ = vocab
    ranks, made = read_merges(metadata, known)
    byte_tokens = bpe_bytes(known)
    words = merge_whole(texts, known, types, byte_tokens, ranks, made, lookup_first)
    n_class_block, classes = class_table()
    fields = {"flags": 0, "n_merge": len(made),
              "n_class_block": n_class_block, "unicode": unicode_data.VERSION}  # fmt: skip
    tables = {"byte_off": byte_tokens, "merge_off": made, "class_off": classes}
    if len(made) >= LEAST_FOR_FIRSTS:
        fields["flags"] |= _abi.KLLM_VOCAB_FIRSTS
        tables["first_off"] = first_merges(tokens, byte_tokens, ranks, made)
    return Parts(words, ranks, fields, tables)


def _space_flag(words):
    """Returns KLLM_VOCAB_SPACE_SPLITS if no word has a space after anything else."""
    is_within = any(re.search(b"[^ ] ", text) for text in words)
    return 0 if is_within else _abi.KLLM_VOCAB_SPACE_SPLITS


def _spm_parts(metadata, vocab):
    byte_tokens = spm_bytes(vocab.tokens, vocab.types, vocab.unk)
    scores = read_score_ranks(metadata, len(vocab.tokens))
    words = spm_whole(vocab.texts, vocab.tokens, vocab.types, scores)
    tables = {"byte_off": byte_tokens, "score_off": scores}
    return Parts(words, {}, {"flags": _space_flag(words)}, tables)


def _unigram_parts(metadata, vocab):
    byte_tokens = spm_bytes(vocab.tokens, vocab.types, vocab.unk)
    values = read_values(metadata, len(vocab.tokens), vocab.types, vocab.unk)
    words = spm_known(vocab.texts, vocab.tokens, vocab.types)
    flags = _space_flag(words)
    if scalar(metadata, "remove_extra_whitespaces", bool, True):
        flags |= _abi.KLLM_VOCAB_FEW_SPACES
    char_map = read_char_map(metadata)
    tables = {"byte_off": byte_tokens, "score_off": values, "map_off": char_map}
    return Parts(words, {}, {"flags": flags, "map_bytes": len(char_map)}, tables)


def pack_vocab(metadata, pre=None):
    """
    Returns the vocab section for a GGUF file's metadata.

    metadata: mapping of GGUF keys to Python values; strings in arrays are bytes.
    pre: name of a pre-tokenizer to use instead of the file's.

    Raises KllmError naming the key, and the index where an element is at fault. Where two tokens
    have the same text, text is encoded to the lower id.
    """
    model = read_model(metadata)
    is_bpe, is_unigram = model == "gpt2", model == "t5"
    pre_id, lookup_first, add_bos = (
        read_pre(metadata, pre) if is_bpe else (_abi.KLLM_PRE_NONE, False, not is_unigram)
    )
    tokens = read_tokens(metadata)
    types = read_types(metadata, tokens)
    texts = texts_of(tokens, types, is_bpe)
    known = {token: idx for idx, token in reversed(list(enumerate(tokens)))}
    ids = read_special_ids(metadata, tokens, known, model)
    if is_unigram and ids["unk"] == NO_TOKEN:
        fail(KEY + "unknown_token_id", "is missing")
    lookup_first = metadata.get(LOOKUP_FIRST, lookup_first)
    flags = read_flags(metadata, ids, is_bpe, add_bos, is_unigram)
    flags |= _abi.KLLM_VOCAB_WORDS_FIRST * lookup_first
    vocab = Vocab(tokens, types, texts, known, ids["unk"])
    if is_bpe:
        parts = _bpe_parts(metadata, vocab, lookup_first)
    else:
        parts = (_unigram_parts if is_unigram else _spm_parts)(metadata, vocab)
    fields = {"kind": KINDS[model], "pre": pre_id, **ids, **parts.fields}
    fields["flags"] |= flags
    return _written(vocab, parts, fields, types_with_strips(types, metadata, tokens))


def _written(vocab, parts, fields, type_table):
    """Returns the section with these fields and tables and with those that every kind has."""
    tokens, types, texts, _, _ = vocab
    word_bits, word_table, word_factors = hash_words(parts.words)
    pair_bits, pair_table, pair_factors = hash_pairs(parts.ranks)
    special = [i for i in range(len(tokens)) if types[i] in SPECIAL_TYPES and texts[i]]
    special = _lowest_by_text(special, texts)
    user = [i for i in special if types[i] == _abi.KLLM_TOKEN_USER]
    starts = array("I", [0, *accumulate(map(len, texts))])
    tables = {
        "start_off": starts, "text_off": b"".join(texts), "type_off": type_table,
        "byte_off": b"", "word_off": word_table, "word_factor_off": word_factors,
        "pair_off": pair_table, "pair_factor_off": pair_factors, "merge_off": b"",
        "first_off": b"", "score_off": b"", "special_off": array("I", special + user),
        "class_off": b"", "map_off": b"", **parts.tables,
    }  # fmt: skip
    return section({
        "magic": _abi.KLLM_VOCAB_MAGIC, "layout": _abi.KLLM_VOCAB_LAYOUT,
        "longest": max(map(len, parts.words), default=0), "n_vocab": len(tokens),
        "n_special": len(special), "n_user": len(user), "word_bits": word_bits,
        "pair_bits": pair_bits, "text_bytes": starts[-1], **fields,
    }, [(name, bytes(table)) for name, table in tables.items()])  # fmt: skip


def _lowest_by_text(ids, texts):
    """Returns the ids sorted by their texts, of equal texts the lowest id alone."""
    first = {}
    for id in ids:
        first.setdefault(texts[id], id)
    return [first[text] for text in sorted(first)]
