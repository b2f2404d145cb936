# SPDX-License-Identifier: Apache-2.0
"""
Runs test families of this project in an emulated aarch64 CPython.

    python -m qemu.families [--cpu CPU] [NAME ...]

NAME: of a file of tests/ without "test_"; every one of FAMILIES by default, on every core. As many
run side by side as this machine has cores. Exit status 1 if a test fails.
"""

import itertools
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from kernel_llm.terminal import Parser, run_command
from qemu import build, sysroot, tools, user

# The longest first, so that the last to run are short.
FAMILIES = ("pretokenize", "model", "tokenizer", "malformed", "gguf", "tokenizer_pieces",
            "tokenizer_file", "quantize", "tokenizer_check", "tokenizer_pack", "image", "quant",
            "tokenizer_unigram", "engine_py", "reference", "tokenizer_stream")  # fmt: skip


class Outcome(NamedTuple):
    """What came of families on a core; line: pytest's last, output: all it printed."""

    cpu: str
    names: tuple
    is_good: bool
    line: str
    output: str


def run_families(names, cpu, program, running):
    """
    Runs families in one process of user.interpreter's program; returns an Outcome.

    running: a list that receives the process. Tests under sanitizers are left out: they compile
    and run a program of this machine.
    """
    files = [str(build.ROOT / "tests" / f"test_{name}.py") for name in names]
    command = [str(program), "-m", "pytest", "--rootdir", str(build.ROOT), "-o", "pythonpath=",
               "-p", "no:cacheprovider", "-k", "not sanitizers", *files]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, cwd=build.ROOT)  # fmt: skip
    running.append(process)
    output, _ = process.communicate()
    lines = [line for line in output.splitlines() if re.search(r"\d (passed|failed|error)", line)]
    line = lines[-1].strip("= ") if lines else "no test ran"
    return Outcome(cpu, tuple(names), process.returncode == 0, line, output)


def run_all(jobs, folder):
    """Yields the Outcome of each (names, cpu), as many at once as this machine has cores."""
    jobs = list(jobs)
    programs = {cpu: user.interpreter(cpu, folder) for cpu in {cpu for _, cpu in jobs}}
    running = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            yield from pool.map(lambda job: run_families(*job, programs[job[1]], running), jobs)
        except BaseException:  # such as an interrupt: the threads wait for these
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            raise


def main():
    parser = Parser(
        prog="python -m qemu.families", description="test families in an emulated CPython"
    )
    parser.add_argument("--cpu", action="append", choices=user.CPUS, help="default: all")
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    unknown = sorted({*args.names} - {*FAMILIES})
    if unknown:
        parser.error(f"no family {unknown[0]}; there are " + " ".join(FAMILIES))
    tools.require("aarch64-linux-gnu-gcc", "qemu-aarch64")
    folder = user.site()
    if missing := user.library(folder):
        raise sysroot.NoSysroot(missing)
    jobs = itertools.product(((name,) for name in args.names or FAMILIES), args.cpu or user.CPUS)
    is_good = True
    for outcome in run_all(jobs, folder):
        print(f"{outcome.cpu} {outcome.names[0]:18} {outcome.line}", flush=True)
        if not outcome.is_good:
            print(outcome.output)
            is_good = False
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(run_command("qemu.families", main, (sysroot.NoSysroot,)))
