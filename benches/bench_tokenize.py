# SPDX-License-Identifier: Apache-2.0
"""English to token ids."""

import contextlib

from benches.declare import Bench, Skipped
from benches.kernels import COPIES

# Public domain: the openings of A Tale of Two Cities (Dickens) and Moby-Dick (Melville).
TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
    "age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the "
    "season of Light, it was the season of Darkness, it was the spring of hope, it was the winter "
    "of despair, we had everything before us, we had nothing before us, we were all going direct "
    "to Heaven, we were all going direct the other way - in short, the period was so far like the "
    "present period, that some of its noisiest authorities insisted on its being received, for "
    "good or for evil, in the superlative degree of comparison only.\n\n"
    "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money "
    "in my purse, and nothing particular to interest me on shore, I thought I would sail about a "
    "little and see the watery part of the world. It is a way I have of driving off the spleen "
    "and regulating the circulation. Whenever I find myself growing grim about the mouth; "
    "whenever it is a damp, drizzly November in my soul; whenever I find myself involuntarily "
    "pausing before coffin warehouses, and bringing up the rear of every funeral I meet; and "
    "especially whenever my hypos get such an upper hand of me, that it requires a strong moral "
    "principle to prevent me from deliberately stepping into the street, and methodically "
    "knocking people's hats off - then, I account it high time to get to sea as soon as I can.\n\n"
)
N_CHAR = 100
N_REPEAT = 72  # copies of TEXT in the buffer: about 100 kB


def declare(selection):
    try:
        vocab, name = _vocab(selection.model)
    except OSError as error:
        return [Skipped("tokenize/100", f"no vocabulary: {error}")]
    return [
        Bench(
            "tokenize/100", lambda: encode_runner(vocab), order=0, seconds_target=10e-6,
            level="scalar", model_hash=name, copies=COPIES,
            work={"byte": N_CHAR, "item": N_CHAR, "item_name": "char"},
            explain=f"BPE-encodes English into tokens of {name}, figures for 100 characters; a "
            "call takes as many hundreds as a sample needs, no result is kept. Limit: one table "
            "look-up for each word that is a token.",
        )
    ]  # fmt: skip


def _vocab(model):
    """Returns (path of the model whose vocabulary is used, its name)."""
    if model:
        from kernel_llm.pull import resolve

        return resolve(model), str(model)
    with contextlib.suppress(ImportError, FileNotFoundError):
        from kernel_llm.builtin import NAME, builtin_path

        return builtin_path(), NAME
    from benches.seeded import seeded_image

    return seeded_image("nano", "q4_0"), "the seeded vocabulary"


def encode_runner(path):
    """Returns run(loops): encodes loops times 100 characters in one call for each buffer."""
    from kernel_llm import _abi
    from kernel_llm._native_cffi import ffi, lib
    from kernel_llm.opening import open_image

    image = open_image(path)
    text = ffi.from_buffer((TEXT * N_REPEAT).encode())
    work = ffi.new("char[]", _abi.KLLM_ENCODE_WORK_BYTES)
    ids = ffi.new("uint32_t[]", len(text) + 8)
    n_out = ffi.new("uint64_t *")
    vocab = image.address + image.vocab_off
    most = len(text) // N_CHAR

    def run(loops):
        while loops > 0:
            n = min(loops, most)
            if lib.kllm_encode(vocab, work, text, n * N_CHAR, 0, ids, len(ids), n_out) != 0:
                raise RuntimeError("the encoder refused the text")
            loops -= n

    run.image = image
    return run
