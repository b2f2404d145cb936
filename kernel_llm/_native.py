"""The binding to the core that fits this interpreter: functions of kllm.h, pointers, memory."""

from kernel_llm._port import IS_MICROPYTHON

if IS_MICROPYTHON:
    from kernel_llm._native_ffi import *  # noqa: F403
else:
    from kernel_llm._native_cffi import *  # noqa: F403
