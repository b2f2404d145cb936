"""
The core under CPython: the functions of kllm.h by their own names, and memory for them.

A pointer is a cffi `void *`: adding an offset in bytes to it gives another one.
"""

import contextlib
import mmap
import os

from kernel_llm import _abi
from kernel_llm.errors import KllmError

ENGINE = "native"

try:
    from kernel_llm._kllm import ffi, lib
except ModuleNotFoundError as error:
    raise ImportError(
        f"kernel-llm's core is not built ({error}); run `make all` or `pip install .`"
    ) from error
except ImportError as error:
    raise KllmError(_abi.KLLM_ERR_ABI, f"the core cannot be loaded: {error}") from error

if lib.kllm_abi_version() != _abi.ABI_VERSION:
    raise KllmError(
        _abi.KLLM_ERR_ABI,
        f"kernel_llm/_kllm is of version {lib.kllm_abi_version():08x}, "
        f"_abi.py of {_abi.ABI_VERSION:08x}; run `make all` or `pip install .`",
    )

for _name, _result, _arguments in _abi.FUNCTIONS:
    globals()[_name] = getattr(lib, _name)


def pointer(buffer):
    """Returns the pointer to a buffer's bytes; the buffer must outlive its use."""
    return ffi.cast("void *", ffi.from_buffer(buffer))


def view(address, n_bytes):
    """Returns n_bytes at a pointer as a writable buffer, without a copy."""
    return ffi.buffer(address, n_bytes)


class Memory:
    """
    A mapping of whole pages, so aligned to 4096 bytes: a file, or zeros.

    address: the pointer to its first byte.
    n_bytes: its size.
    """

    def __init__(self, n_bytes=0, path=None):
        self.n_bytes = n_bytes
        if path is None:  # pages come into being when they are first touched
            self._map = mmap.mmap(-1, max(1, n_bytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            fd = os.open(path, os.O_RDONLY)
            try:
                self.n_bytes = os.fstat(fd).st_size  # an empty file cannot be mapped
                self._map = mmap.mmap(fd if self.n_bytes else -1, max(1, self.n_bytes),
                                      access=mmap.ACCESS_READ)  # fmt: skip
            finally:
                os.close(fd)
        # Pages of 2 MiB, where the system has them, save walks through page tables when a token
        # reads all weights and many positions.
        with contextlib.suppress(AttributeError, OSError):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = ffi.from_buffer(self._map)
        self.address = ffi.cast("void *", self._bytes)

    def view(self, off, n_bytes):
        """Returns n_bytes at an offset as a buffer, without a copy; it outlives `close`."""
        return memoryview(self._map)[off : off + n_bytes]

    def close(self):
        """Unmaps it, or leaves that to the last view; every pointer into it is void afterwards."""
        if self._map is not None:
            ffi.release(self._bytes)
            with contextlib.suppress(BufferError):  # somebody holds a view
                self._map.close()
            self._map = self.address = None
