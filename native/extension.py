# SPDX-License-Identifier: Apache-2.0
"""
Builds the cffi extension (API mode, limited ABI: one file for every Python from 3.10 on).
"""

import sysconfig
from pathlib import Path

import cffi

from build import NATIVE, ROOT, abi_region, build_archive, is_stale, part_of, run

MODULE = "kernel_llm._kllm"
FLAGS = ["-O2", "-fPIC", "-shared", "-pthread", "-DPy_LIMITED_API=0x030a0000"]


def build_extension(target, out_dir=None, include_dir=None):
    """
    Builds the extension of a target and returns its path.

    out_dir: where _kllm.abi3.so goes; the package itself by default.
    include_dir: of Python.h; this interpreter's by default. With another machine's the extension
    is to be shipped, and what debuggers read, five sixths of it, stays behind.
    """
    archive = build_archive(target)
    source = target.build_dir / "_kllm.c"
    ffi = cffi.FFI()
    ffi.cdef(abi_region().replace("/* ABI BEGIN */", ""))
    ffi.set_source(MODULE, '#include "kllm.h"', compiler_verbose=0)
    ffi.emit_c_code(str(source))
    out = Path(out_dir or ROOT / "kernel_llm") / "_kllm.abi3.so"
    if is_stale(out, [source, archive]):
        out.parent.mkdir(parents=True, exist_ok=True)
        include = include_dir or sysconfig.get_paths()["include"]
        strip = ["-Wl,--strip-debug"] if include_dir else []
        run([target.cc, *FLAGS, *strip, f"-I{include}", f"-I{NATIVE / 'include'}", source, archive,
             "-o", part_of(out)])  # fmt: skip
        part_of(out).replace(out)
    return out
