# SPDX-License-Identifier: Apache-2.0
"""The emulated board: runs one bare-metal image and brings back what it printed."""

import subprocess
from pathlib import Path

from qemu import build

CPUS = ("cortex-a53", "cortex-a72")
QEMU = ("qemu-system-aarch64",)
PROMPT = "ROMEO."


class Hung(Exception):
    """QEMU did not end within its time; the message carries what it had printed."""


def last_line(output):
    """Returns the last line of an image's output as text."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def run_elf(elf, cpu, ram_mib=build.RAM_MIB, arguments=(), is_counted=False, limit_s=300,
            qemu=QEMU):  # fmt: skip
    """
    Runs an image; returns (exit status, output as bytes).

    arguments: the words of its command line. is_counted: one instruction is one tick, as the
    bench image needs. qemu: words that start the emulator. Raises Hung after limit_s seconds.
    """
    semihosting = "enable=on,target=native,chardev=con"
    for word in arguments:
        semihosting += ",arg=" + word.replace(",", ",,")
    command = [
        *qemu, "-M", "virt", "-cpu", cpu, "-m", f"{ram_mib}M", "-display", "none",
        "-nodefaults", "-no-reboot", "-chardev", "stdio,id=con,signal=off",
        "-semihosting-config", semihosting, "-kernel", str(elf),
    ]  # fmt: skip
    if is_counted:
        command += ["-icount", "shift=0"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=limit_s)  # fmt: skip
    except subprocess.TimeoutExpired as late:
        text = (late.output or b"").decode("utf-8", "replace")
        raise Hung(
            f"{Path(elf).name} on {cpu}: ended after {limit_s} s; it printed:\n{text}"
        ) from None
    return done.returncode, done.stdout
