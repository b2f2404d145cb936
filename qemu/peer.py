# SPDX-License-Identifier: Apache-2.0
"""
Counts the instructions of a token here and in llama.cpp, on one emulated core, in one harness.

    python -m qemu.peer [--cpu CPU] [--model MODEL] [--only q4_0]

llama.cpp is built from the source package of llama-cpp-python, once for each instruction set; that
takes minutes. Both engines run as programs of Linux with one thread on the same file, and the
plugin of qemu.mix counts all that they execute. Two runs that differ by N tokens give what N
tokens take, so that loading the model cancels out.
"""

import os
import subprocess
import sys
import tarfile
from typing import NamedTuple

from benches.peers.models import variant
from kernel_llm.pull import resolve
from kernel_llm.terminal import Parser, run_command
from qemu import build, mix, sysroot, tools, user

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
ARCHITECTURES = {"cortex-a53": "armv8-a", "cortex-a76": "armv8.2-a+dotprod"}
FOLDER = build.ROOT / "build" / "peer"
LIBRARIES = ("src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a",
             "ggml/src/libggml-base.a")  # fmt: skip
# Of the one token or the prompt: our instructions over theirs, at most, on the armv8.0 floor.
AIMS = {("q4_0", "decode"): 0.40, ("q8_0", "decode"): 0.45, ("q4_0", "prompt"): 0.30}
N_PROMPT = 32
N_DECODE = 8
OURS = """
import sys
from kernel_llm.image import Image
from kernel_llm.model import Model

n_token, n_prompt, n_decode = map(int, sys.argv[2:])
with Model(Image(sys.argv[1]), n_ctx=512, threads=1) as model:
    for _ in range(n_prompt):
        model.reset()
        model.prefill(list(range(1, n_token + 1)))
    for i in range(n_decode):
        model.step(1 + i)
"""


class NoPeer(Exception):
    """llama.cpp cannot be had, or does not run; the message is one line that says why."""


class Cost(NamedTuple):
    """Instructions of a token: one by one behind a prompt, and within a prompt."""

    decode: float
    prompt: float


def run(words, failure, variables=None):
    """Runs a program; raises NoPeer with the last line of what it printed."""
    result = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT, env={**os.environ, **(variables or {})}
                            )  # fmt: skip
    if result.returncode != 0:
        lines = result.stdout.strip().splitlines() or ["no reason given"]
        raise NoPeer(f"{failure}: {lines[-1]}")


def source():
    """Returns the folder of llama.cpp's sources, fetched the first time."""
    name = f"{PACKAGE.replace('-', '_')}-{VERSION}"
    folder = FOLDER / name
    if not folder.exists():
        run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check",
             "--no-deps", "--no-binary", PACKAGE, "-d", FOLDER, f"{PACKAGE}=={VERSION}"],
            "pip download")  # fmt: skip
        part = FOLDER / "source.part"
        with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
            archive.extractall(part, filter="data")
        (part / name).rename(folder)  # whole or not there
    return folder / "vendor" / "llama.cpp"


def peer(cpu):
    """Builds llama.cpp for a core's instruction set; returns the program that uses it."""
    architecture = ARCHITECTURES[cpu]
    program = FOLDER / f"peer_llama-{architecture}"
    main = build.QEMU / "peer_llama.cpp"
    if not build.core.is_stale(program, [main]):
        return program
    folder, out = source(), FOLDER / architecture
    compiler = "aarch64-linux-gnu-"
    print(f"building llama.cpp for {architecture}: some minutes", flush=True)
    run(["cmake", "-S", folder, "-B", out, "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF",
         "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
         f"-DCMAKE_C_COMPILER={compiler}gcc", f"-DCMAKE_CXX_COMPILER={compiler}g++",
         "-DGGML_NATIVE=OFF", f"-DGGML_CPU_ARM_ARCH={architecture}", "-DGGML_OPENMP=OFF",
         *(f"-DLLAMA_BUILD_{part}=OFF" for part in ("TESTS", "EXAMPLES", "TOOLS", "SERVER", "APP"))
         ], "cmake")  # fmt: skip
    run(["cmake", "--build", out, "--target", "llama", "-j", os.cpu_count()], "make")
    run([f"{compiler}g++", "-O2", "-static", "-w", main, f"-I{folder}/include",
         f"-I{folder}/ggml/include", *(out / library for library in LIBRARIES),
         "-o", build.core.part_of(program)], "g++")  # fmt: skip
    build.core.part_of(program).replace(program)
    return program


def cost(start):
    """Returns the Cost of tokens of an engine: start + [N_PROMPT, prompts, tokens] runs it."""
    log = FOLDER / "mix.log"
    variables = {"QEMU_PLUGIN": f"file={mix.plugin(('qemu-aarch64',))}", "QEMU_LOG": "plugin",
                 "QEMU_LOG_FILENAME": str(log)}  # fmt: skip

    def count(n_prompt, n_decode):
        run([*start, N_PROMPT, n_prompt, n_decode], "an engine failed", variables)
        return sum(block.n for _, block in mix.read_log(log))

    less = count(1, N_DECODE)
    return Cost((count(1, 2 * N_DECODE) - less) / N_DECODE, (count(2, N_DECODE) - less) / N_PROMPT)


def peer_cost(cpu, model):
    """Returns llama.cpp's Cost, with or without its flash attention as is cheaper."""
    start = ["qemu-aarch64", "-cpu", cpu, peer(cpu), model]
    costs = [cost([*start, is_flash]) for is_flash in (0, 1)]
    return Cost(*(min(values) for values in zip(*costs, strict=True)))


def own_cost(cpu, model):
    """Returns this project's Cost, its Python included."""
    python = user.interpreter(cpu, user.site())
    return cost([python, "-c", OURS, build.packed(model)])


def print_costs(cpu, dtype, ours, theirs):
    for work, own, other in zip(Cost._fields, ours, theirs, strict=True):
        aim = AIMS.get((dtype, work)) if cpu == "cortex-a53" else None
        told = f"   aim {aim:.2f}: {'met' if own <= aim * other else 'missed'}" if aim else ""
        print(f"{work}/{dtype:10}{own / 1e6:12.1f}{other / 1e6:12.1f}{own / other:8.3f}{told}",
              flush=True)  # fmt: skip


def main():
    parser = Parser(
        prog="python -m qemu.peer", description="instructions of a token here and in llama.cpp"
    )
    parser.add_argument("--cpu", choices=ARCHITECTURES, default="cortex-a53")
    parser.add_argument("--model", default="smollm2-135m", help="GGUF file or pulled name")
    parser.add_argument("--only", nargs="+", action="extend", choices=("q4_0", "q8_0"))
    args = parser.parse_args()
    tools.require("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "qemu-aarch64", "cmake")
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = {dtype: variant(resolve(args.model), dtype) for dtype in args.only or ("q4_0", "q8_0")}
    print(f"{args.cpu}, million instructions a token; a prompt has {N_PROMPT} tokens")
    print(f"{'':17}{'kernel-llm':>12}{'llama.cpp':>12}{'ratio':>8}")
    for dtype, path in paths.items():
        print_costs(args.cpu, dtype, own_cost(args.cpu, path), peer_cost(args.cpu, path))


if __name__ == "__main__":
    sys.exit(run_command("qemu.peer", main, (NoPeer, mix.NoMix, sysroot.NoSysroot)))
