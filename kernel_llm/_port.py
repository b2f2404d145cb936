"""What differs between CPython and MicroPython, and nothing else."""

import os
import sys

IS_MICROPYTHON = sys.implementation.name == "micropython"
try:
    from micropython import const
except ImportError:

    def const(x):
        return x


def cpu_count():
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("Cpus_allowed:"):
                    return sum([bin(int(c, 16)).count("1") for c in line[13:].strip() if c != ","])
    except OSError:
        pass
    return 1
