# SPDX-License-Identifier: Apache-2.0
"""
Runs test families of this project in an emulated aarch64 CPython.

    python -m qemu.families [--cpu CPU] [NAME ...]

NAME: of a file of tests/ without "test_"; every one of FAMILIES by default, on every core. As many
run side by side as this machine has cores. Exit status 1 if a test fails.
"""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import NamedTuple

from kernel_llm.pull import pull
from kernel_llm.terminal import Parser, run_command
from qemu import build, sysroot, tools, user

# The longest first, so that the last to run are short.
FAMILIES = ("tokenizer", "pretokenize", "model", "malformed", "gguf", "tokenizer_pieces",
            "tokenizer_file", "quantize", "tokenizer_check", "tokenizer_pack", "image", "quant",
            "tokenizer_unigram", "engine_py", "reference", "tokenizer_special",
            "tokenizer_buffers", "tokenizer_stream")  # fmt: skip

_POLL_SECONDS = 0.2


class Outcome(NamedTuple):
    """What came of families on a core; line: pytest's last, output: all it printed."""

    names: tuple
    cpu: str
    is_good: bool
    line: str
    output: str

    @property
    def title(self):
        return f"{self.cpu} {' '.join(self.names)}"

    @property
    def skips(self):
        """A Counter of the reasons for which tests were left out."""
        found = Counter()
        for n, reason in re.findall(r"^SKIPPED \[(\d+)\] \S+ (.*)", self.output, re.MULTILINE):
            found[reason] += int(n)
        return found


class _Run:
    """Families in one process of user.interpreter's program, which leads a group of its own."""

    def __init__(self, names, cpu, program):
        files = [str(build.ROOT / "tests" / f"test_{name}.py") for name in names]
        # Tests under sanitizers are left out: they compile and run a program of this machine.
        command = [str(program), "-m", "pytest", "--rootdir", str(build.ROOT), "-o", "pythonpath=",
                   "-rs", "-p", "no:cacheprovider", "-k", "not sanitizers", *files]  # fmt: skip
        self.names, self.cpu = tuple(names), cpu
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._output,
                                         stderr=subprocess.STDOUT, cwd=build.ROOT,
                                         start_new_session=True)  # fmt: skip

    def outcome(self):
        """Returns the Outcome, or None while it runs."""
        if self._process.poll() is None:
            return None
        self._output.seek(0)
        output = self._output.read()
        lines = re.findall(r".*\d (?:passed|failed|error).*", output)
        line = lines[-1].strip("= ") if lines else "no test ran"
        return Outcome(self.names, self.cpu, self._process.returncode == 0, line, output)

    def end(self):
        """Kills it, unless it has ended, with all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._output.close()


def fetch(folder):
    """
    Fetches what the families need and the emulated Python, without pip, cannot: an oracle, put
    into a folder of user.site, and the real model. Raises sysroot.NoSysroot, OSError.
    """
    user.library(folder)
    if not os.environ.get("KLLM_OFFLINE"):
        pull("smollm2-135m")


def run_all(jobs, folder):
    """
    Yields the Outcome of each (names, cpu) as it ends; as many run at once as there are cores.

    Whatever ends it early, such as an interrupt, ends all it started. No thread waits for a run:
    it would start the next after the interrupt, and nobody would end that.
    """
    jobs = list(jobs)
    programs = {cpu: user.interpreter(cpu, folder) for cpu in {cpu for _, cpu in jobs}}
    runs = []
    try:
        while jobs or runs:
            while jobs and len(runs) < (os.cpu_count() or 1):
                names, cpu = jobs.pop(0)
                runs.append(_Run(names, cpu, programs[cpu]))
            time.sleep(_POLL_SECONDS)
            for run in list(runs):
                if outcome := run.outcome():
                    runs.remove(run)
                    run.end()
                    yield outcome
    finally:
        for run in runs:
            run.end()


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
    fetch(folder)
    jobs = list(itertools.product(((name,) for name in args.names or FAMILIES),
                                  args.cpu or user.CPUS))  # fmt: skip
    print(f"{len(jobs)} runs, {os.cpu_count() or 1} at once; the longest come first", flush=True)
    with contextlib.closing(run_all(jobs, folder)) as outcomes:
        return report(outcomes, len(jobs))


def report(outcomes, n_job):
    """Prints each of n_job outcomes as it comes and what came of all; returns the exit status."""
    started, bad, skips = time.monotonic(), [], Counter()
    for i, outcome in enumerate(outcomes, 1):
        print(f"{i:2}/{n_job} {outcome.title:30} {outcome.line}", flush=True)
        skips += outcome.skips
        if not outcome.is_good:
            print(outcome.output)
            bad.append(outcome.title)
    for reason, n in skips.most_common():
        print(f"skipped {n}: {reason}")
    minutes = (time.monotonic() - started) / 60
    print(f"{n_job} runs in {minutes:.0f} min: "
          + (f"{len(bad)} failed: {', '.join(bad)}" if bad else "all passed"))  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(run_command("qemu.families", main, (sysroot.NoSysroot,)))
