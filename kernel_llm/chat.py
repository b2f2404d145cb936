"""
Turn formats of chat models, written by hand: a template in a model file is never executed, only
recognised.
"""

from kernel_llm import _abi

SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

# (format, texts that its Jinja template contains), the first match wins.
_SIGNS = (
    (_abi.KLLM_CHAT_SMOLLM2, ("<|im_start|>", SMOLLM2_SYSTEM)),
    (_abi.KLLM_CHAT_CHATML, ("<|im_start|>",)),
    (_abi.KLLM_CHAT_LLAMA3, ("<|start_header_id|>",)),
    (_abi.KLLM_CHAT_LLAMA2, ("[INST]", "<<SYS>>")),
    (_abi.KLLM_CHAT_MISTRAL, ("[INST]",)),
    (_abi.KLLM_CHAT_ZEPHYR, ("<|user|>", "<|assistant|>")),
)


def recognise(template):
    """Returns the kllm_chat number of a Jinja chat template, KLLM_CHAT_NONE if it is unknown."""
    for chat, signs in _SIGNS:
        if all(sign in template for sign in signs):
            return chat
    return _abi.KLLM_CHAT_NONE


def frame(chat, system="", first=True):
    """
    Returns the texts that stand before and behind what a user says, up to where the answer begins.

    chat: a kllm_chat number but NONE. system: plain text, counts in the first turn.
    first: the conversation begins here; otherwise the text before also ends the last answer.
    """
    if chat in (_abi.KLLM_CHAT_CHATML, _abi.KLLM_CHAT_SMOLLM2):
        if chat == _abi.KLLM_CHAT_SMOLLM2:
            system = system or SMOLLM2_SYSTEM
        head = "<|im_start|>system\n" + system + "<|im_end|>\n" if system else ""
        head = head if first else "<|im_end|>\n"
        return head + "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    if chat == _abi.KLLM_CHAT_LLAMA3:
        start, end, stop = "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"
        head = start + "system" + end + system + stop if system else ""
        head = head if first else stop
        return head + start + "user" + end, stop + start + "assistant" + end
    if chat == _abi.KLLM_CHAT_ZEPHYR:
        head = "<|system|>\n" + system + "</s>\n" if system else ""
        head = head if first else "</s>\n"
        return head + "<|user|>\n", "</s>\n<|assistant|>\n"
    head = "[INST] " if first else "</s>[INST] "
    if system and first:
        llama2 = chat == _abi.KLLM_CHAT_LLAMA2
        head += "<<SYS>>\n" + system + "\n<</SYS>>\n\n" if llama2 else system + "\n\n"
    return head, " [/INST]"


def encode_turn(encoder, chat, user, system="", first=True):
    """
    Returns the token ids of one user turn, marks included.

    What the user typed is never parsed for control tokens: where it holds the text of one, it is
    encoded apart from the marks around it.
    """
    before, behind = frame(chat, system, first)
    user = user.strip()
    plain = encoder.encode(user, affix=False)
    if plain == encoder.encode(user, special=True, affix=False):
        return encoder.encode(before + user + behind, special=True, affix=first)
    before = encoder.encode(before, special=True, affix=first)
    return before + plain + encoder.encode(behind, special=True, affix=False)
