# SPDX-License-Identifier: Apache-2.0
"""
Runs this project in an emulated aarch64 CPython, as a person with a board would.

    python -m qemu.user [--cpu CPU] ARGUMENTS OF PYTHON

The packages are copies of this tree with the cross-built extension; nothing here is timed.
"""

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from kernel_llm.terminal import Parser, run_command
from qemu import build, sysroot, tools

CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
PACKAGES = ("arena", "benches", "kernel_llm", "tokenizer")
# Oracles of the tests that Debian does not package: pure Python, copied from this machine, and a
# library of its own, fetched as the wheel of the version that this machine has.
ORACLES = ("gguf",)
LIBRARY = "tokenizers"
# What a program that is started with sys.executable runs in, too.
CUSTOMIZE = 'import os, sys\n\nsys.executable = os.environ["KLLM_PYTHON"]\n'


def site():
    """Builds the extension for aarch64 and returns a folder from which Python imports it all."""
    import cross

    tools.require("aarch64-linux-gnu-gcc")
    target = build.core.targets()["aarch64-linux"]
    extension = cross.build_cross_extension(target)
    folder = target.build_dir / "site"
    for package in PACKAGES:
        if (folder / package).exists():
            shutil.rmtree(folder / package)
        shutil.copytree(build.ROOT / package, folder / package,
                        ignore=shutil.ignore_patterns("*.so", "__pycache__"))  # fmt: skip
    for oracle in ORACLES:
        found = importlib.util.find_spec(oracle)
        if found is not None:
            shutil.copytree(Path(found.origin).parent, folder / oracle, dirs_exist_ok=True)
    shutil.copy(extension, folder / "kernel_llm" / extension.name)
    return folder


def library(folder):
    """
    Puts the compiled oracle for aarch64 beside the packages in a folder of `site`.

    Raises sysroot.NoSysroot if it cannot be had.
    """
    if (folder / LIBRARY).exists():
        return
    wheel = f"{LIBRARY}=={importlib.metadata.version(LIBRARY)}"
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
               "--no-deps", "--only-binary=:all:", "--platform", "manylinux2014_aarch64",
               "--python-version", "3.13", "--target", folder, wheel]  # fmt: skip
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode != 0:
        lines = (result.stderr.strip() or "no reason given").splitlines()
        raise sysroot.NoSysroot(f"pip: {lines[-1]}")


def interpreter(cpu, folder):
    """
    Returns a program that is CPython on an emulated core, written to a folder of `site`.

    The working folder is not searched for modules (-P): it holds the packages of this machine.
    """
    program = folder / f"python-{cpu}"
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1",
                 "KLLM_PYTHON": str(program)}  # fmt: skip
    userland = sysroot.make_sysroot("arm64")
    words = sysroot.command_line(userland, ["python3.13", "-P"], "arm64", cpu, variables)
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    (folder / "sitecustomize.py").write_text(CUSTOMIZE)
    return program


def main():
    parser = Parser(prog="python -m qemu.user", allow_abbrev=False,
                    description="an emulated aarch64 CPython with this project")  # fmt: skip
    parser.add_argument("--cpu", choices=CPUS, default=CPUS[0])
    args, words = parser.parse_known_args()
    program = interpreter(args.cpu, site())
    sys.stdout.flush()
    os.execv(program, [str(program), *words])


if __name__ == "__main__":
    sys.exit(run_command("qemu.user", main, (sysroot.NoSysroot,)))
