"""Makes a byte-level BPE vocabulary from text, with the tokenizers library. CPython only."""

import json

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.files import atomic_write, check_apart, check_writable
from kernel_llm.tokenizer import pre_patterns
from kernel_llm.tokenizer.pre_names import PRE_NAMES, pre_names

_CHUNK_CHARS = 1 << 20


def train(files, output, n_vocab, pre="gpt-2", specials=()):
    """
    Trains on text files and writes a tokenizer.json.

    n_vocab: tokens, the 256 bytes and specials among them. pre: how text is cut into words.
    specials: texts of control tokens, which get the lowest ids. The files are UTF-8; what is not
    is left out. Raises KllmError, or OSError for a file that cannot be read.
    """
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, "training needs the tokenizers library: "
                        "pip install tokenizers") from None  # fmt: skip
    if pre not in PRE_NAMES:
        raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, f"unknown pre-tokenizer {pre!r}; known: "
                        f"{', '.join(pre_names())}")  # fmt: skip
    least = 256 + len(set(specials))
    if not least <= n_vocab <= _abi.KLLM_MAX_VOCAB:
        raise KllmError(_abi.KLLM_ERR_RANGE, f"{n_vocab} tokens; {least} or more are needed, "
                        f"{_abi.KLLM_MAX_VOCAB} at most")  # fmt: skip
    for path in files:  # before the work begins
        with open(path, "rb"):
            pass
    check_apart(output, *files)
    check_writable(output)
    pre_id, words_first, _ = PRE_NAMES[pre]
    tokenizer = Tokenizer(models.BPE(ignore_merges=words_first))
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated")
            for pattern in pre_patterns.PATTERNS[pre_id]]  # fmt: skip
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab, special_tokens=list(specials), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_texts(files), trainer)
    with atomic_write(output) as file:
        text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False)
        file.write(text.encode())


def _texts(files):
    """Yields the text of files in pieces that end where lines do, if they have any."""
    for path in files:
        with open(path, encoding="utf-8", errors="ignore", newline="") as file:
            while lines := file.readlines(_CHUNK_CHARS):
                yield "".join(lines)
