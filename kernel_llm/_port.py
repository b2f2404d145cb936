"""What differs between CPython and MicroPython, and nothing else."""

import os
import sys
import time

IS_MICROPYTHON = sys.implementation.name == "micropython"
try:
    from micropython import const
except ImportError:

    def const(x):
        return x


if IS_MICROPYTHON:
    ticks_us = time.ticks_us
else:

    def ticks_us():
        return time.perf_counter_ns() // 1000


def cpu_count():
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return 1
