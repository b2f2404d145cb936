# SPDX-License-Identifier: Apache-2.0
"""
Runs this project in an emulated aarch64 CPython, as a person with a board would.

    python -m qemu.user [--cpu CPU] ARGUMENTS OF PYTHON

The packages are copies of this tree with the cross-built extension; nothing here is timed.
"""

import argparse
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from qemu import build, sysroot, tools

CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
PACKAGES = ("arena", "benches", "kernel_llm", "tokenizer")
ORACLES = ("gguf",)  # of the tests: pure Python that this machine has and Debian does not package


def site():
    """Builds the extension for aarch64 and returns a folder from which Python imports it all."""
    import cross

    tools.require("aarch64-linux-gnu-gcc")
    target = build.core.targets()["aarch64-linux"]
    extension = cross.build_cross_extension(target)
    folder = target.build_dir / "site"
    for package in PACKAGES:
        shutil.rmtree(folder / package, ignore_errors=True)
        shutil.copytree(build.ROOT / package, folder / package,
                        ignore=shutil.ignore_patterns("*.so", "__pycache__"))  # fmt: skip
    for oracle in ORACLES:
        found = importlib.util.find_spec(oracle)
        if found is not None:
            shutil.copytree(Path(found.origin).parent, folder / oracle, dirs_exist_ok=True)
    shutil.copy(extension, folder / "kernel_llm" / extension.name)
    return folder


def python_command(words, cpu, folder):
    """Returns the command that runs CPython with arguments on an emulated core.

    folder: of `site`. The working folder is not searched for modules (-P): it holds the packages
    of this machine.
    """
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    userland = sysroot.make_sysroot("arm64")
    return sysroot.command_line(userland, ["python3.13", "-P", *words], "arm64", cpu, variables)


def main():
    parser = argparse.ArgumentParser(
        description="an emulated aarch64 CPython with this project", allow_abbrev=False
    )
    parser.add_argument("--cpu", choices=CPUS, default=CPUS[0])
    args, words = parser.parse_known_args()
    try:
        command = python_command(words, args.cpu, site())
    except sysroot.NoSysroot as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    sys.stdout.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
