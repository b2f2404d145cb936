"""How the next token is chosen."""

import struct

from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm.errors import KllmError


class Sampler:
    """
    How the next token is chosen, and the state of its generator (SplitMix64).

    temperature: 0 takes the most likely token. top_k: 0 keeps all. top_p: 1 keeps all.
    min_p: 0 keeps all. repeat_penalty: 1 leaves the logits alone; it looks at the last
    repeat_last_n tokens. seed: 64 bits; the same seed gives the same text on every machine.
    Raises KllmError(RANGE) naming the parameter that is out of its range.
    """

    def __init__(
        self,
        temperature: float = 0.0,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        repeat_penalty: float = 1.0,
        repeat_last_n: int = 64,
        seed: int = 0,
    ):
        for name, value, low, high in (
            ("temperature", temperature, 0, 100),
            ("top_k", top_k, 0, 0xFFFFFFFF),
            ("top_p", top_p, 0, 1),
            ("min_p", min_p, 0, 1),
            ("repeat_penalty", repeat_penalty, 0.01, 100),
            ("repeat_last_n", repeat_last_n, 0, 0xFFFFFFFF),
            ("seed", seed, 0, 0xFFFFFFFFFFFFFFFF),
        ):
            if not low <= value <= high:
                raise KllmError(_abi.KLLM_ERR_RANGE, "%s is %s, not within %s … %s"
                                % (name, value, low, high))  # fmt: skip
            if isinstance(value, float) and name in ("top_k", "repeat_last_n", "seed"):
                raise TypeError("%s is %s, not a whole number" % (name, value))
        self._state = bytearray(struct.pack("<4f2IQ", temperature, top_p, min_p, repeat_penalty,
                                            top_k, repeat_last_n, seed))  # fmt: skip
        self.address = native.pointer(self._state)
