# SPDX-License-Identifier: Apache-2.0
"""
The core under MicroPython: the functions of kllm.h by their own names, and memory for them.

A pointer is an integer, an address: adding an offset in bytes to it gives another one. Calls with
integers and buffers allocate nothing; addresses and results are small integers on 64-bit machines.

The library is the file KLLM_LIBRARY names; or else libkllm.so beside this package, or where
`python native shared` puts it. ImportError if there is none that this machine can load.
"""

import os

import ffi
import uctypes

from kernel_llm import _abi
from kernel_llm.errors import KllmError

ENGINE = "native"

_PROT_READ, _PROT_WRITE = 1, 2
_MAP_PRIVATE, _MAP_ANONYMOUS = 2, 32  # of Linux on every 64-bit machine
_MADV_HUGEPAGE = 14
_FAILED = -1


def _load():
    """Returns (library, its path)."""
    named = os.getenv("KLLM_LIBRARY")
    package = __file__.rsplit("/", 1)[0] + "/"
    build = package + "../build/"
    paths = (package + "libkllm.so", build + "x86_64-linux/libkllm.so",
             build + "aarch64-linux/libkllm.so")  # fmt: skip
    for path in (named,) if named else paths:
        try:
            return ffi.open(path), path
        except OSError:
            pass  # not there, or of another machine
    if named:
        raise KllmError(
            _abi.KLLM_ERR_ABI, "KLLM_LIBRARY=%s is no library for this machine" % named
        )
    raise ImportError("no libkllm.so")


def _bind(library, path):
    """Makes the library's functions members of this module, if it is of this header."""
    found = library.func("I", "kllm_abi_version", "")()
    if found != _abi.ABI_VERSION:
        raise KllmError(
            _abi.KLLM_ERR_ABI,
            "%s is of version %08x, _abi.py of %08x; run `python native shared`"
            % (path, found, _abi.ABI_VERSION),
        )
    for name, result, arguments in _abi.FUNCTIONS:
        globals()[name] = library.func(result, name, arguments)


_bind(*_load())

_libc = ffi.open(None)
_mmap = _libc.func("q", "mmap", "pQiiiq")
_munmap = _libc.func("i", "munmap", "pQ")
_madvise = _libc.func("i", "madvise", "pQi")


def pointer(buffer):
    """Returns the address of a buffer's bytes; the buffer must outlive its use."""
    return uctypes.addressof(buffer)


def view(address, n_bytes):
    """Returns n_bytes at an address as a writable buffer, without a copy."""
    return uctypes.bytearray_at(address, n_bytes)


class Memory:
    """
    A mapping of whole pages, so aligned to 4096 bytes: a file, or zeros.

    address: the address of its first byte.
    n_bytes: its size.
    """

    def __init__(self, n_bytes=0, path=None):
        self.address = None
        if path is None:  # pages come into being when they are first touched
            self.n_bytes = n_bytes
            self._map(_PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1)
        else:
            with open(path, "rb") as file:
                self.n_bytes = file.seek(0, 2)
                self._map(_PROT_READ, _MAP_PRIVATE, file.fileno())

    def _map(self, protection, flags, fd):
        address = _mmap(None, max(1, self.n_bytes), protection, flags, fd, 0)
        if address == _FAILED:
            raise OSError(os.errno())
        self.address = address
        _madvise(address, max(1, self.n_bytes), _MADV_HUGEPAGE)  # where the system has them

    def view(self, off, n_bytes):
        """Returns n_bytes at an offset as a buffer, without a copy; it is void after `close`."""
        return view(self.address + off, n_bytes)

    def close(self):
        """Unmaps it; every pointer into it is void afterwards."""
        if self.address is not None:
            _munmap(self.address, max(1, self.n_bytes))
            self.address = None
