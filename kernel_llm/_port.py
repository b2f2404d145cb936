"""What differs between CPython and MicroPython, and nothing else."""

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
