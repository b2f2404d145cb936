# SPDX-License-Identifier: Apache-2.0
"""What the hardware counts: instructions, cycles, misses, energy; or why it does not."""

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

SYSCALL = {"x86_64": 298, "aarch64": 241}
# name: (type, config) of perf_event_open
EVENTS = {
    "instructions": (0, 1),
    "cycles": (0, 0),
    "cache_misses": (0, 3),
    "branch_misses": (0, 5),
}
DISABLED_USER_ONLY = 1 | 1 << 5 | 1 << 6  # disabled, exclude_kernel, exclude_hv
WHY = {
    errno.ENOENT: "this CPU or virtual machine counts no such events",
    errno.EACCES: "not allowed; sysctl kernel.perf_event_paranoid=2 allows it",
    errno.EPERM: "not allowed; sysctl kernel.perf_event_paranoid=2 allows it",
    errno.ENOSYS: "this kernel has no perf events",
}
ENABLE, DISABLE, RESET = 0x2400, 0x2401, 0x2403


class Counters:
    """
    Hardware counters of the calling thread.

    `reasons` says for each name that is not counted why; `names` are the ones that are.
    """

    def __init__(self):
        self._fds = {}
        self.reasons = {}
        number = SYSCALL.get(platform.machine())
        for name, (kind, config) in EVENTS.items():
            if number is None:
                self.reasons[name] = f"no perf events known for {platform.machine()}"
                continue
            # struct perf_event_attr, first version: 64 bytes
            attr = struct.pack(
                "<IIQQQQQIIQ", kind, 64, config, 0, 0, 0, DISABLED_USER_ONLY, 0, 0, 0
            )
            libc = ctypes.CDLL(None, use_errno=True)
            fd = libc.syscall(number, ctypes.c_char_p(attr), 0, -1, -1, 0)
            if fd < 0:
                code = ctypes.get_errno()
                self.reasons[name] = WHY.get(code, os.strerror(code))
            else:
                self._fds[name] = fd
        self.names = tuple(self._fds)

    def count(self, run):
        """Returns {name: count} of a call of run()."""
        import fcntl

        for fd in self._fds.values():
            fcntl.ioctl(fd, RESET, 0)
            fcntl.ioctl(fd, ENABLE, 0)
        run()
        for fd in self._fds.values():
            fcntl.ioctl(fd, DISABLE, 0)
        return {n: struct.unpack("<Q", os.read(fd, 8))[0] for n, fd in self._fds.items()}

    def close(self):
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}


def energy_source():
    """Returns (function that gives joules so far, ""), or (None, why there is none)."""
    seen = False
    patterns = [
        ("/sys/class/powercap", "*-rapl:0/energy_uj"),
        ("/sys/class/hwmon", "*/energy1_input"),
    ]
    for folder, pattern in patterns:
        for path in sorted(Path(folder).glob(pattern)):
            seen = True
            if os.access(path, os.R_OK):
                return lambda path=path: int(path.read_text()) / 1e6, ""
    return None, "not readable by this user" if seen else "the system has no energy counter"
