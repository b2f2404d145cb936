"""The one exception of this package, for a world that is wrong."""

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


class naming:
    """Puts the path of a file before what a KllmError of a `with` block says is wrong with it."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, KllmError):
            named = KllmError(error.code, "%s: %s" % (self.path, error.where))
            named.__suppress_context__ = True
            raise named
