# SPDX-License-Identifier: Apache-2.0
"""
Says what kinds of instructions a token of a model takes on an emulated board, by function, and how
many a character of text takes until it is tokens.

    python -m qemu.mix [--cpu CPU] [--model MODEL] [--tokens N] [--prompt TEXT] [--text FILE]

Exact: every block of code that QEMU runs is counted by a plugin (mix.c). Two runs that differ by N
tokens give what N tokens take, whatever else a run does.
"""

import bisect
import re
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

from benches.declare import UsageError
from kernel_llm.builtin import builtin_path
from kernel_llm.terminal import Parser, positive, run_command
from qemu import board, build, tools

N_LEAST_SHARE = 0.005  # of the functions that are listed
PRINTING = re.compile("kllm_crc32|print_row|semihost|console_.*")  # what the image does beside


class NoMix(Exception):
    """The plugin cannot be built or loaded here; the message is one line that says why."""


class Mix(NamedTuple):
    """Executed instructions: all, and those of vectors, of memory and of single floats."""

    n: float = 0
    vector: float = 0
    memory: float = 0
    scalar: float = 0

    def scaled(self, times):
        return Mix(*(value * times for value in self))

    def plus(self, other):
        return Mix(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def simd_share(self):
        """The share of instructions that compute on, load or store vectors and floats."""
        return (self.vector + self.memory + self.scalar) / self.n if self.n else 0.0


def plugin(qemu=board.QEMU):
    """Builds the plugin for a QEMU and returns its path; raises NoMix."""
    text = subprocess.run([*qemu, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)\.", text)
    if version is None:
        raise NoMix("no QEMU that tells its version")
    api = 1 if int(version[1]) < 9 else 3
    source = build.QEMU / "mix.c"
    library = build.ROOT / "build" / "mix" / f"mix-{api}.so"
    if build.core.is_stale(library, [source]):
        library.parent.mkdir(parents=True, exist_ok=True)
        command = [build.core.host_target().cc, "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
                   f"-DMIX_API={api}", source, "-o", build.core.part_of(library)]  # fmt: skip
        build.core.run(command)
        build.core.part_of(library).replace(library)
    return library


def functions(elf):
    """Returns (start addresses, names) of the functions of an ELF file, ascending."""
    with open(elf, "rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        found = {s["st_value"]: s.name for s in table.iter_symbols()
                 if s["st_info"]["type"] == "STT_FUNC"}  # fmt: skip
    starts = sorted(found)
    return starts, [found[start] for start in starts]


def read_log(log):
    """Yields (address, Mix of all its runs) of every block of code that the plugin has counted."""
    for line in log.read_text().splitlines():
        if line.startswith("mix "):
            address, n_run, *counts = line.split()[1:]
            yield int(address, 16), Mix(*map(int, counts)).scaled(int(n_run))


def mix_of(elf, cpu, arguments=(), ram_mib=build.RAM_MIB, qemu=board.QEMU):
    """
    Runs an image and returns {function: Mix}; code before the first function is "start".

    Raises NoMix where QEMU does not load the plugin.
    """
    log = build.ROOT / "build" / "mix" / f"{elf.stem}.log"
    library = plugin(qemu)
    log.unlink(missing_ok=True)
    words = (*qemu, "-plugin", str(library), "-d", "plugin", "-D", str(log))
    status, output = board.run_elf(elf, cpu, ram_mib, arguments, qemu=words)
    if status != 0 or not log.exists():
        raise NoMix(f"{elf.name}: exit status {status}: {board.last_line(output)}")
    starts, names = functions(elf)
    out = {}
    for address, block in read_log(log):
        at = bisect.bisect_right(starts, address) - 1
        name = names[at] if at >= 0 else "start"
        out[name] = out.get(name, Mix()).plus(block)
    return out


def between(less, more, times):
    """Returns {function: Mix} of what one of `times` things takes that the second run did more."""
    names = {**less, **more}
    grown = {name: more.get(name, Mix()).plus(less.get(name, Mix()).scaled(-1)).scaled(1 / times)
             for name in names}  # fmt: skip
    return {name: mix for name, mix in grown.items() if mix.n}


def total(mixes):
    """Returns the sum of {function: Mix}."""
    out = Mix()
    for mix in mixes.values():
        out = out.plus(mix)
    return out


def token_mix(model, cpu, n_token, prompt, ram_mib=build.RAM_MIB):
    """Returns {function: Mix} of one generated token of a model image, without its printing."""
    elf = build.link("generate", model, ram_mib)
    less, more = (mix_of(elf, cpu, (str(n), prompt), ram_mib) for n in (n_token, 2 * n_token))
    mixes = between(less, more, n_token)
    return {name: mix for name, mix in mixes.items() if not PRINTING.fullmatch(name)}


def encode_costs(model, cpu, text, ram_mib=build.RAM_MIB):
    """
    Returns the instructions that a first pass over a text takes with a model's vocabulary, and
    those of a second, when the words that had to be merged are kept.
    """
    path = build.ROOT / "build" / "mix" / "text"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    elf = build.link("encode", model, ram_mib, text=path)
    none, once, twice = (total(mix_of(elf, cpu, (str(n),), ram_mib)).n for n in range(3))
    return once - none, twice - once


def text_line(cpu, text, costs):
    """Returns one line about what encode_costs found."""
    first, second = (n / len(text.decode("utf-8", "replace")) for n in costs)
    return (f"{cpu}: {first:.1f} instructions a character of {len(text) // 1000} kB of text on a "
            f"first pass, {second:.1f} on a second")  # fmt: skip


def share_line(cpu, mix):
    """Returns one line about a Mix of a token."""
    return (f"{cpu}: {mix.n:,.0f} instructions a token: {mix.vector / mix.n:.1%} on vectors, "
            f"{mix.memory / mix.n:.1%} their loads and stores, {mix.scalar / mix.n:.1%} on single "
            "floats")  # fmt: skip


def print_functions(mixes):
    """Prints the functions that matter, the largest first."""
    whole = total(mixes).n
    print(f"{'function':44}{'a token':>12}{'share':>8}{'SIMD':>8}")
    for name, n in Counter({name: mix.n for name, mix in mixes.items()}).most_common():
        if n >= N_LEAST_SHARE * whole:
            print(f"{name:44}{n:12,.0f}{n / whole:8.1%}{mixes[name].simd_share:8.1%}")


def main():
    from benches.peers.texts import sample  # needs the extension

    parser = Parser(prog="python -m qemu.mix", description="kinds of instructions of a token")
    parser.add_argument("--cpu", choices=board.CPUS, default=board.CPUS[0])
    parser.add_argument(
        "--model", help="image, GGUF file or pulled name; default: the model in the box"
    )
    parser.add_argument("--ram", type=positive, default=build.RAM_MIB, metavar="MIB")
    parser.add_argument("--tokens", type=positive, default=8)
    parser.add_argument("--prompt", default=board.PROMPT)
    parser.add_argument(
        "--text", metavar="FILE", help="what is encoded; default: 300 kB of English"
    )
    args = parser.parse_args()
    if not args.prompt:
        parser.error("--prompt is empty")
    text = sample(args.text)
    tools.require("aarch64-linux-gnu-gcc", "qemu-system-aarch64")
    model = build.packed(args.model or builtin_path("q4_0"))
    mixes = token_mix(model, args.cpu, args.tokens, args.prompt, args.ram)
    print_functions(mixes)
    print(share_line(args.cpu, total(mixes)))
    print(text_line(args.cpu, text, encode_costs(model, args.cpu, text, args.ram)))


if __name__ == "__main__":
    sys.exit(run_command("qemu.mix", main, (NoMix, build.DoesNotFit, board.Hung, UsageError)))
