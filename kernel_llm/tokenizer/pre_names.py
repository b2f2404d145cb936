"""The pre-tokenizers that are known, by the names GGUF files give them."""

from kernel_llm import _abi

# Names of tokenizer.ggml.pre: (kllm_pre, a whole word is looked up first, bos by default).
PRE_NAMES = {
    "default": (_abi.KLLM_PRE_DEFAULT, False, False),
    "gpt-2": (_abi.KLLM_PRE_GPT2, False, False),
    "mpt": (_abi.KLLM_PRE_GPT2, False, False),
    "olmo": (_abi.KLLM_PRE_GPT2, False, False),
    "phi-2": (_abi.KLLM_PRE_GPT2, False, False),
    "smollm": (_abi.KLLM_PRE_SMOLLM, False, False),
    "starcoder": (_abi.KLLM_PRE_SMOLLM, False, False),
    "refact": (_abi.KLLM_PRE_SMOLLM, False, False),
    "command-r": (_abi.KLLM_PRE_SMOLLM, False, False),
    "codeshell": (_abi.KLLM_PRE_SMOLLM, False, False),
    "llama-bpe": (_abi.KLLM_PRE_LLAMA3, True, True),
    "llama-v3": (_abi.KLLM_PRE_LLAMA3, True, True),
    "llama3": (_abi.KLLM_PRE_LLAMA3, True, True),
    "qwen2": (_abi.KLLM_PRE_QWEN2, False, False),
    "deepseek-r1-qwen": (_abi.KLLM_PRE_QWEN2, False, False),
    "stablelm2": (_abi.KLLM_PRE_QWEN2, False, False),
    "tekken": (_abi.KLLM_PRE_TEKKEN, True, True),
    "gpt-4o": (_abi.KLLM_PRE_GPT4O, False, False),
    "llama4": (_abi.KLLM_PRE_GPT4O, False, False),
    "falcon": (_abi.KLLM_PRE_FALCON, False, False),
    "deepseek-llm": (_abi.KLLM_PRE_DEEPSEEK_LLM, False, False),
    "deepseek-coder": (_abi.KLLM_PRE_DEEPSEEK_CODER, False, False),
}


def pre_names():
    """Returns the names of all known pre-tokenizers, sorted."""
    return sorted(PRE_NAMES)
