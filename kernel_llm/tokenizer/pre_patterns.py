"""
The regular expressions of the pre-tokenizers, to read and write tokenizer.json. CPython only.

Text is cut by rules in C, never by these; tests hold the two together.
"""

from kernel_llm import _abi
from tokenizer.ranges import LATIN

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
HEAD = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{HEAD}*{TAIL}+|[^\r\n\p{{L}}\p{{N}}]?{HEAD}+{TAIL}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{HEAD}*{TAIL}+{CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{HEAD}+{TAIL}*{CONTRACTIONS}?|\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The letters are written as numbers since some of them change under normalisation.
DEEPSEEK_LETTERS = "".join(rf"\x{{{lo:x}}}-\x{{{hi:x}}}" for lo, hi in LATIN)
IDEOGRAPHS = r"[\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+"
DIGITS = r"\p{N}"

# kllm_pre: the expressions that cut text, one after another.
PATTERNS = {
    _abi.KLLM_PRE_GPT2: (GPT2,),
    _abi.KLLM_PRE_SMOLLM: (DIGITS, GPT2),
    _abi.KLLM_PRE_LLAMA3: (LLAMA3,),
    _abi.KLLM_PRE_QWEN2: (LLAMA3.replace("{1,3}", ""),),
    _abi.KLLM_PRE_TEKKEN: (TEKKEN,),
    _abi.KLLM_PRE_GPT4O: (GPT4O,),
    _abi.KLLM_PRE_FALCON: (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"),
    _abi.KLLM_PRE_DEEPSEEK_LLM: (
        r"[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+",
        r"\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+",
        r"\s+$", IDEOGRAPHS, r"\p{N}+",
    ),
    _abi.KLLM_PRE_DEEPSEEK_CODER: (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", IDEOGRAPHS, DIGITS),
    _abi.KLLM_PRE_DEFAULT: (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}  # fmt: skip

# The name that stands for each in GGUF metadata.
NAMES = {
    _abi.KLLM_PRE_GPT2: "gpt-2", _abi.KLLM_PRE_SMOLLM: "smollm",
    _abi.KLLM_PRE_LLAMA3: "llama-bpe", _abi.KLLM_PRE_QWEN2: "qwen2",
    _abi.KLLM_PRE_TEKKEN: "tekken", _abi.KLLM_PRE_GPT4O: "gpt-4o",
    _abi.KLLM_PRE_FALCON: "falcon", _abi.KLLM_PRE_DEEPSEEK_LLM: "deepseek-llm",
    _abi.KLLM_PRE_DEEPSEEK_CODER: "deepseek-coder", _abi.KLLM_PRE_DEFAULT: "default",
}  # fmt: skip

# Other ways to write the same, as published files have them.
SAME = {
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": GPT2,
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+": LLAMA3,
}


def name_of(patterns):
    """Returns the GGUF name of the pre-tokenizer that cuts by these expressions, or None."""
    patterns = tuple(SAME.get(pattern, pattern) for pattern in patterns)
    for pre, known in PATTERNS.items():
        if known == patterns:
            return NAMES[pre]
    return None
