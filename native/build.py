# SPDX-License-Identifier: Apache-2.0
"""
Compiles the core: one list of sources, one table of flags, one archive for each target.

Behind the command line (native/__main__.py), setup.py and qemu/: nothing else knows the sources
or the flags.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
SOURCES = NATIVE / "src"
HEADER = NATIVE / "include" / "kllm.h"

COMMON_FLAGS = [
    "-std=c11", "-O2", "-g", "-ffreestanding", "-fPIC", "-fvisibility=hidden",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing",
    "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes",
    "-Wvla", "-Werror",
]  # fmt: skip

# What a variant needs beyond the floor of its architecture; the key ends the file's name.
SUFFIX_FLAGS = {
    "_avx512vnni": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"],
    "_neon_dotprod": ["-march=armv8.2-a+dotprod"],
    "_neon_i8mm": ["-march=armv8.2-a+dotprod+i8mm"],
    "cpu_x86_64": ["-march=x86-64"],  # it runs before anyone knows what the CPU can do
}


class Target:
    """A product's machine: name, compiler prefix, folder of kernels, floor and system files."""

    def __init__(self, name, prefix, isa, flags, system):
        self.name = name
        self.prefix = prefix
        self.isa = isa
        self.flags = flags
        self.system = system  # files of native/src that exist once for each system

    @property
    def cc(self):
        return os.environ.get("CC", "cc") if self.prefix is None else self.prefix + "gcc"

    @property
    def ar(self):
        return "ar" if self.prefix is None else self.prefix + "ar"

    @property
    def build_dir(self):
        return ROOT / "build" / self.name


X86_FLAGS = ["-march=x86-64-v3", "-mtune=generic"]
ARM_FLAGS = ["-march=armv8-a"]
X86_SYSTEM = ["cpu_x86_64.c", "threads_linux.c"]
ARM_SYSTEM = ["cpu_aarch64_linux.c", "threads_linux.c"]
BARE_SYSTEM = ["cpu_fixed.c", "threads_none.c"]
BARE_FLAGS = ["-fno-pic", "-fno-stack-protector"]


def targets():
    """Returns the targets by name; those of this machine use its own compiler."""
    host = platform.machine()
    cross = None if host == "aarch64" else "aarch64-linux-gnu-"
    rows = [
        Target("x86_64-linux", None, "x86_64", X86_FLAGS, X86_SYSTEM),
        Target("aarch64-linux", cross, "aarch64", ARM_FLAGS, ARM_SYSTEM),
        Target("aarch64-none", cross, "aarch64", [*BARE_FLAGS, *ARM_FLAGS, "-DKLLM_FLOOR"],
               BARE_SYSTEM),
        *(Target(f"aarch64-none{isa.removeprefix('_neon')}", cross, "aarch64",
                 [*BARE_FLAGS, *SUFFIX_FLAGS[isa]], BARE_SYSTEM)
          for isa in ("_neon_dotprod", "_neon_i8mm")),
    ]  # fmt: skip
    return {target.name: target for target in rows}


def host_target():
    """Returns the target of this machine."""
    name = platform.machine() + "-linux"
    if name not in targets():
        sys.exit(f"native: no build for {platform.machine()}: x86_64 or aarch64 needed")
    if sys.maxsize < 2**32:
        sys.exit("native: this Python has 32 bits; a 64-bit system is needed")
    return targets()[name]


def sources(target):
    """Returns the C files of a target, sorted."""
    per_system = ("cpu_", "threads_")
    files = [p for p in SOURCES.glob("*.c") if not p.name.startswith(per_system)]
    files += [SOURCES / name for name in target.system]
    for folder in ("tokenizer", "c", target.isa):
        files += (SOURCES / folder).glob("*.c")
    if "-DKLLM_FLOOR" in target.flags:
        files = [p for p in files if not any(p.stem.endswith(s) for s in SUFFIX_FLAGS)]
    return sorted(files)


def flags_of(target, source):
    """Returns the compiler flags for one file."""
    extra = [f for suffix, flags in SUFFIX_FLAGS.items() if source.stem.endswith(suffix)
             for f in flags]  # fmt: skip
    return [*COMMON_FLAGS, *target.flags, *extra, f"-DKLLM_ABI_VERSION={abi_version()}u",
            f"-I{NATIVE / 'include'}", f"-I{SOURCES / target.isa}"]  # fmt: skip


def abi_region():
    """Returns the text of kllm.h that cffi reads as it is."""
    text = HEADER.read_text()
    return text[text.index("/* ABI BEGIN */") : text.index("/* ABI END */")]


def abi_version():
    """Returns the number kllm_abi_version() gives: a hash of the region without comments."""
    code = re.sub(r"//[^\n]*", "", abi_region())
    return zlib.crc32(" ".join(code.split()).encode())


def run(command, quiet=False):
    """Runs a command; prints it in full and stops if it fails."""
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(" ".join(str(c) for c in command) + "\n" + result.stdout + result.stderr)
    if not quiet and result.stderr:
        sys.stderr.write(result.stderr)


def is_stale(product, inputs):
    """Says whether a product is missing or older than one of its inputs."""
    if not product.exists():
        return True
    made = product.stat().st_mtime
    return any(path.stat().st_mtime > made for path in inputs)


def part_of(product):
    """Returns the path under which a product is made: it is whole or not there."""
    return product.with_name(f".{os.getpid()}.{product.name}")


def check_compiler(target):
    """Stops with one line where a target's compiler is missing."""
    if shutil.which(target.cc) is None:
        package = "gcc libc6-dev" if target.prefix is None else "gcc-aarch64-linux-gnu"
        sys.exit(f"native: no compiler {target.cc}; type:  sudo apt-get install -y {package}")


def compile_objects(target, extra_flags=(), build_dir=None):
    """Compiles every stale source of a target; returns the objects."""
    check_compiler(target)
    out = (build_dir or target.build_dir) / "obj"
    out.mkdir(parents=True, exist_ok=True)
    headers = [*SOURCES.rglob("*.h"), *SOURCES.glob("*.def"), HEADER, Path(__file__)]
    objects, running = [], []
    for source in sources(target):
        obj = out / (source.stem + ".o")
        objects.append(obj)
        if not is_stale(obj, [source, *headers]):
            continue
        if len(running) == (os.cpu_count() or 1):
            finish(*running.pop(0))
        command = [target.cc, *flags_of(target, source), *extra_flags, "-c", source,
                   "-o", part_of(obj)]  # fmt: skip
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)  # fmt: skip
        running.append((obj, command, process))
    for job in running:
        finish(*job)
    return objects


def finish(obj, command, process):
    """Waits for the compiler of an object; stops with its words if it failed."""
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(" ".join(str(c) for c in command) + "\n" + output)
    part_of(obj).replace(obj)


def build_archive(target, extra_flags=(), build_dir=None):
    """Builds libkllm.a of a target and returns its path."""
    objects = compile_objects(target, extra_flags, build_dir)
    archive = (build_dir or target.build_dir) / "libkllm.a"
    if is_stale(archive, objects):
        part_of(archive).unlink(missing_ok=True)
        run([target.ar, "rcsD", part_of(archive), *objects])
        part_of(archive).replace(archive)
    return archive


def build_shared(target):
    """Builds libkllm.so of a target, whose exports are what kllm.h declares."""
    archive = build_archive(target)
    shared = target.build_dir / "libkllm.so"
    if is_stale(shared, [archive]):
        run([target.cc, "-shared", "-o", part_of(shared), "-Wl,--whole-archive", archive,
             "-Wl,--no-whole-archive", "-pthread", "-Wl,-soname,libkllm.so",
             "-Wl,-z,defs"])  # fmt: skip
        part_of(shared).replace(shared)
    return shared
