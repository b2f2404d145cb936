# SPDX-License-Identifier: Apache-2.0
"""
Builds the package for another machine: dist/kernel_llm-*-cp310-abi3-manylinux_*_aarch64.whl.

    python native/cross.py [--target aarch64-linux]

The archive, the extension (limited ABI: one file for every Python from 3.10 on) and the wheel. The
wheel's tag names the glibc that the extension's own symbols ask for.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from build import ROOT, targets
from extension import build_extension

PYTHON = "python3.13"


def python_headers(target):
    """Returns a folder with the Python.h of a target, copied from its Debian userland."""
    from qemu.sysroot import TRIPLETS, make_sysroot

    folder = target.build_dir / "python-include"
    if not (folder / "Python.h").exists():
        include = make_sysroot("arm64") / "usr" / "include"
        part = folder.with_suffix(".part")
        for old in (part, folder):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(include / PYTHON, part)
        shutil.copy(include / TRIPLETS["arm64"] / PYTHON / "pyconfig.h", part)
        part.rename(folder)  # whole or not there
    return folder


def glibc_of(path):
    """Returns (2, minor): the newest version of glibc whose symbols a library asks for."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    newest = (2, 17)  # the first glibc with AArch64
    with open(path, "rb") as file:
        for section in ELFFile(file).iter_sections():
            if not isinstance(section, GNUVerNeedSection):
                continue
            for _, versions in section.iter_versions():
                for version in versions:
                    if version.name.startswith("GLIBC_2."):
                        newest = max(newest, (2, int(version.name.split(".")[1])))
    return newest


def build_cross_extension(target):
    """Builds the extension of a target that is not this machine; returns its path."""
    return build_extension(target, target.build_dir / "kernel_llm", python_headers(target))


def build_wheel(target):
    """Builds the wheel of a target and returns its path."""
    major, minor = glibc_of(build_cross_extension(target))
    platform = f"manylinux_{major}_{minor}_{target.isa}"
    folder = target.build_dir / "wheel"
    for old in (folder, target.build_dir / "wheel-build"):
        shutil.rmtree(old, ignore_errors=True)
    environment = {**os.environ, "KLLM_TARGET": target.name,
                   "KLLM_PYTHON_INCLUDE": str(python_headers(target))}  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "-w",
        folder,
        f"-C--build-option=--plat-name={platform}",
        ROOT,
    ]
    result = subprocess.run([str(c) for c in command], env=environment, capture_output=True,
                            text=True, check=False)  # fmt: skip
    if result.returncode != 0:
        sys.exit(" ".join(str(c) for c in command) + "\n" + result.stdout + result.stderr)
    (wheel,) = folder.glob("*.whl")
    (ROOT / "dist").mkdir(exist_ok=True)
    return Path(shutil.copy(wheel, ROOT / "dist"))


def main():
    parser = argparse.ArgumentParser(description="builds the package for another machine")
    parser.add_argument("--target", choices=sorted(targets()), default="aarch64-linux")
    args = parser.parse_args()
    from qemu.tools import require

    target = targets()[args.target]
    require(target.cc, "qemu-aarch64")
    print(build_wheel(target).relative_to(ROOT))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from kernel_llm.terminal import run_command
    from qemu.sysroot import NoSysroot

    sys.exit(run_command("native/cross.py", main, (NoSysroot,)))
