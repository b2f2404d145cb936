# SPDX-License-Identifier: Apache-2.0
"""
What computes: the binding to the core that fits this interpreter, or its slow twin in Python.

Functions of kllm.h, pointers, memory, and ENGINE: "native" or "python". The twin is taken where
there is no library, or where the environment says KLLM_ENGINE=python.
"""

import os

from kernel_llm._port import IS_MICROPYTHON

_wanted = os.getenv("KLLM_ENGINE")
try:
    if _wanted == "python":
        raise ImportError("the Python engine is asked for")
    if IS_MICROPYTHON:
        from kernel_llm._native_ffi import *  # noqa: F403
    else:
        from kernel_llm._native_cffi import *  # noqa: F403
except ImportError:
    if _wanted == "native":
        raise
    from kernel_llm._native_py import *  # noqa: F403
