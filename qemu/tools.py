# SPDX-License-Identifier: Apache-2.0
"""Finds the programs that emulation and cross builds need; installs them where that is allowed."""

import os
import shutil
import subprocess
import sys

from kernel_llm.terminal import run_command

PACKAGES = {
    "aarch64-linux-gnu-gcc": ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
    "aarch64-linux-gnu-g++": ("g++-aarch64-linux-gnu",),
    "aarch64-linux-gnu-objdump": ("binutils-aarch64-linux-gnu",),
    "qemu-system-aarch64": ("qemu-system-arm",),
    "qemu-aarch64": ("qemu-user",),
    "cmake": ("cmake",),
}

EMULATION = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objdump", "qemu-system-aarch64",
             "qemu-aarch64")  # fmt: skip


def missing(*programs):
    """Returns those programs that are not on the PATH."""
    return [name for name in programs if shutil.which(name) is None]


def require(*programs):
    """
    Makes sure that programs can be run, installing their packages if this user may.

    Ends the process with status 2 and one line that names the packages otherwise.
    """
    names = missing(*programs)
    if not names:
        return
    packages = [package for name in names for package in PACKAGES[name]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing " + " ".join(packages), flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        ):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if missing(*names):
        sys.stderr.write(
            "missing: "
            + ", ".join(missing(*names))
            + "; type:  sudo apt-get install -y "
            + " ".join(packages)
            + "\n"
        )
        sys.exit(2)


if __name__ == "__main__":
    sys.exit(run_command("qemu.tools", lambda: require(*EMULATION)))
