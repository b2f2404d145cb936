# SPDX-License-Identifier: Apache-2.0
"""What a bare-metal ELF file holds: sizes, symbols, instructions above the floor, worst stack."""

import re
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile

from qemu import build

# Sections whose size is recorded; the model and its arena are the user's.
SECTIONS = (".text", ".rodata", ".data", ".bss")
ALLOCATORS = ("malloc", "calloc", "realloc", "free", "sbrk", "_sbrk", "mmap", "aligned_alloc",
              "posix_memalign", "alloca")  # fmt: skip
# Whatever a kernel table holds may be what an indirect call calls.
KERNEL_FOLDERS = ("c", "aarch64")


class Recursion(Exception):
    """A function can come to call itself; the message is the chain of calls."""


def sizes(path):
    """Returns {section: bytes} of SECTIONS."""
    with open(path, "rb") as file:
        elf = ELFFile(file)
        found = {name: elf.get_section_by_name(name) for name in SECTIONS}
        return {name: section["sh_size"] if section else 0 for name, section in found.items()}


def segments(path):
    """Returns [(flags, names of the sections within)] of the loaded segments of an ELF file."""
    with open(path, "rb") as file:
        elf = ELFFile(file)
        named = [s for s in elf.iter_sections() if s["sh_size"] and s["sh_addr"]]
        return [
            (segment["p_flags"], [s.name for s in named if segment.section_in_segment(s)])
            for segment in elf.iter_segments()
            if segment["p_type"] == "PT_LOAD"
        ]


def symbols(path):
    """Returns {name: True if defined} of the symbols of an ELF file."""
    with open(path, "rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {s.name: s["st_shndx"] != "SHN_UNDEF" for s in table.iter_symbols() if s.name}


def above_floor(path, march="armv8-a"):
    """
    Returns the instructions of an ELF file that an assembler for the floor does not know.

    The file is disassembled, and every different line assembled again with -march=armv8-a.
    """
    dump = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = set()
    for line in dump.splitlines():
        parts = line.split("\t", 1)
        if len(parts) == 2 and re.fullmatch(r"\s*[0-9a-f]+:", parts[0]):
            text = re.sub(r"\s*(<.*>|//.*)", "", parts[1]).strip()
            # A bare hexadecimal number is an address: of a branch, of a literal. Any will do.
            lines.add(re.sub(r"(?<=[\s,])[0-9a-f]{6,}$", ".", text))
    ordered = sorted(lines)
    result = subprocess.run(
        ["aarch64-linux-gnu-as", f"-march={march}", "-o", "/dev/null", "-"],
        input="\n".join(ordered) + "\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    bad = {int(n) for n in re.findall(r"\{standard input\}:(\d+): Error", result.stderr)}
    return [ordered[n - 1] for n in sorted(bad)]


def call_graph(files):
    """Returns ({function: bytes of its frame}, {function: set of those it calls}) of .ci files."""
    frames, calls, kernels = {}, {}, set()
    for path in files:
        text = Path(path).read_text()
        source = re.search(r'graph: \{ title: "([^"]*)"', text).group(1)
        is_kernel = Path(source).parent.name in KERNEL_FOLDERS
        for title, label in re.findall(r'node: \{ title: "([^"]*)" label: "([^"]*)"', text):
            size = re.search(r"(\d+) bytes \((static|dynamic[^)]*)\)", label)
            if size:
                frames[title] = int(size.group(1))
                calls.setdefault(title, set())
                if is_kernel and title.startswith("kllm_"):
                    kernels.add(title)
        for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"',
                                         text):  # fmt: skip
            calls.setdefault(caller, set()).add(callee)
    calls["__indirect_call"] = kernels
    return frames, calls


def worst_stack(files, entry):
    """
    Returns (bytes, chain of functions) of the deepest stack below a function.

    files: the .ci files of everything linked. Raises Recursion; indirect calls are taken to reach
    every kernel, which is all that the core calls that way.
    """
    frames, calls = call_graph(files)
    known = {}

    def depth(name, chain):
        if name in chain:
            raise Recursion(" -> ".join([*chain, name]))
        if name not in known:
            below = [depth(callee, (*chain, name)) for callee in sorted(calls.get(name, ()))]
            deepest, path = max(below, default=(0, ()))
            known[name] = (frames.get(name, 0) + deepest, (name, *path))
        return known[name]

    total, path = depth(entry, ())
    return total, [name.rsplit(":", 1)[-1] for name in path]


def graph_files(elf):
    """Returns the .ci files of the core and of the image that an ELF file was linked from."""
    core = sorted((build.target().build_dir / "obj").glob("*.ci"))
    return [*core, *sorted(Path(elf).with_suffix("").glob("*.ci"))]
