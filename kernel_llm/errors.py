"""The one exception of this package, for a world that is wrong; and what stands for the closed."""

from kernel_llm._abi import (
    KLLM_ERR_ABI,
    KLLM_ERR_FORMAT,
    KLLM_ERR_RANGE,
    KLLM_ERR_SPACE,
    KLLM_ERR_UNSUPPORTED,
)

NAMES = {
    KLLM_ERR_ABI: "ABI",
    KLLM_ERR_RANGE: "RANGE",
    KLLM_ERR_SPACE: "SPACE",
    KLLM_ERR_FORMAT: "FORMAT",
    KLLM_ERR_UNSUPPORTED: "UNSUPPORTED",
}


class KllmError(Exception):
    """
    Something given from outside was refused.

    code: a negative kllm_status.
    where: which field or argument, at which byte or index, and what is wrong with it.
    """

    def __init__(self, code, where):
        super().__init__("%s: %s" % (NAMES.get(code, "error %d" % code), where))
        self.code = code
        self.where = where


class Closed:
    """Stands where the address of closed memory stood: no call takes it, so none reads there."""


CLOSED = Closed()
