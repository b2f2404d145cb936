"""The core under CPython: `lib` holds the functions of kllm.h, `ffi` makes buffers for them."""

from kernel_llm import _abi
from kernel_llm.errors import KllmError

try:
    from kernel_llm._kllm import ffi, lib
except ImportError as error:
    raise ImportError(
        f"kernel-llm's core is not built ({error}); run `make` or `pip install .`"
    ) from error

if lib.kllm_abi_version() != _abi.ABI_VERSION:
    raise KllmError(
        _abi.KLLM_ERR_ABI,
        f"kernel_llm/_kllm is of version {lib.kllm_abi_version():08x}, "
        f"_abi.py of {_abi.ABI_VERSION:08x}; build again",
    )
