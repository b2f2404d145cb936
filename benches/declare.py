# SPDX-License-Identifier: Apache-2.0
"""How a benchmark is declared; what times it is in run.py."""

import fnmatch
import importlib
import importlib.machinery
import importlib.util
import traceback
from dataclasses import dataclass, field
from pathlib import Path

# How much the rows of streams read: "% of limit" is of the one nearest to a row's footprint.
STREAM_BYTES = {"4K": 4 << 10, "16K": 16 << 10, "256K": 256 << 10, "2M": 2 << 20,
                "16M": 16 << 20, "64M": 64 << 20}  # fmt: skip

# Work that is not ours, by which a change of the machine is told from a change of the code.
CONTROL = "control/sha256"
NOT_OURS = ("control/", "stream/")


class UsageError(Exception):
    """Something was asked for that there is not; the message is one line."""


class BenchFailed(Exception):
    """A user's benchmark raised something; key: its table row."""

    def __init__(self, key, message):
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Bench:
    """
    One thing to time.

    id: its name in every result, parameters as path parts: "dot/f32/avx2/384".
    make: called once before timing; returns run(loops), which does the operation loops times.
    key, level: the table row, and "scalar", "simd" or "" within it.
    work: what one operation does, any of flop, byte (both for the limit), item with item_name.
    seconds_target: the published target of one operation.
    threads: more than 1 lifts the pin to one CPU.
    weight: its share of the time budget, beside the others' 1.
    batch: benches of one batch are open at the same time and take turns.
    copies: how often `make` is called, for buffers in as many places, which take turns.
    explain: what it does, its formula, its limit.
    """

    id: str
    make: object
    key: str = ""
    level: str = ""
    work: dict = field(default_factory=dict)
    seconds_target: float | None = None
    threads: int = 1
    weight: float = 1.0
    batch: str = "kernels"
    copies: int = 1
    explain: str = ""
    model_hash: str = ""
    order: int = 0
    note: str = ""

    def __post_init__(self):
        object.__setattr__(self, "key", self.key or self.id)


@dataclass(frozen=True)
class Selection:
    """
    What of the suite is wanted.

    simd: the best code beside the portable one. full: sizes that take minutes too.
    quick: with simd, whole models are not run by portable code, which takes most of the time.
    model: path or name of a model to measure, "" for none. only: patterns of keys, () for all.
    files: a user's own benchmark files.
    """

    simd: bool = True
    full: bool = False
    quick: bool = False
    model: str = ""
    only: tuple = ()
    files: tuple = ()

    def wants(self, key):
        """Tells whether a table row is selected."""
        return not self.only or any(matches(key, pattern) for pattern in self.only)

    def unmatched(self, keys):
        """Returns the first pattern that selects none of these rows, or None."""
        return next((p for p in self.only if not any(matches(k, p) for k in keys)), None)


def matches(key, pattern):
    """Tells whether a table row is meant by a pattern, or by the beginning of its key."""
    return fnmatch.fnmatchcase(key, pattern) or f"{key}/".startswith(pattern.rstrip("/") + "/")


@dataclass(frozen=True)
class Skipped:
    """A table row that cannot be measured here, and why."""

    key: str
    reason: str


OWN = "own"  # the batch of a user's benchmarks
_decorated = []


def benchmark(key, *, work=None, seconds_target=None, threads=1, setup=None, takes_loops=False):
    """
    Declares a function as a benchmark of the suite (in a file given with --file).

    key: its table row, "mine/parse". setup: called once before; what it returns is the
    function's argument. takes_loops: the function repeats itself, its last argument times;
    otherwise it is called in a Python loop, whose own cost (about 50 ns) is part of the figure.
    work, seconds_target, threads: as in Bench.
    """

    def declare(function):
        def checked(action, *arguments):
            try:
                return action(*arguments)
            except Exception as error:  # whatever the user's code does
                raise BenchFailed(key, told(error, function.__code__.co_filename)) from error

        def make():
            arguments = () if setup is None else (checked(setup),)

            def run(loops):
                for _ in range(loops):
                    function(*arguments)

            repeat = function if takes_loops else run
            given = arguments if takes_loops else ()
            return lambda loops: checked(repeat, *given, loops)

        explain = (function.__doc__ or "").strip() or "A benchmark of your own, without docstring."
        _decorated.append(
            Bench(key, make, key=key, work=work or {}, seconds_target=seconds_target,
                  threads=threads, explain=explain, order=900, batch=OWN)
        )  # fmt: skip
        return function

    return declare


def collect(selection, is_other_build=False):
    """
    Returns (benches, skipped) of every bench_<component>.py and of the user's files.

    is_other_build: the engine is of another revision, and what fails with it is skipped.
    Raises UsageError if two benches share an id, a pattern selects nothing or a user's file fails,
    OSError if it cannot be read.
    """
    found = []
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        try:
            found += importlib.import_module(f"benches.{path.stem}").declare(selection)
        except Exception as error:  # whatever another revision lacks
            if not is_other_build:
                raise
            found.append(Skipped(path.stem, f"{type(error).__name__}: {error}"))
    for path in selection.files:
        found += _from_file(path)
    skipped = [b for b in found if isinstance(b, Skipped) and selection.wants(b.key)]
    benches = [b for b in found if isinstance(b, Bench) and selection.wants(b.key)]
    benches.sort(key=lambda b: b.order)
    ids = [b.id for b in benches]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise UsageError(f"two benchmarks are called {twice[0]}")
    if nothing := selection.unmatched([b.key for b in (*benches, *skipped)]):
        raise UsageError(f"no benchmark matches {nothing}; see --list")
    return benches, skipped


def told(error, path):
    """Returns an error of a user's file as text, with the last line of that file on the way."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"line {error.lineno}: SyntaxError: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"


def _from_file(path):
    if not Path(path).is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    before = len(_decorated)
    loader = importlib.machinery.SourceFileLoader(f"user_{Path(path).stem}", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    try:
        loader.exec_module(module)
    except Exception as error:  # whatever the user's code does
        raise UsageError(f"{path}: {told(error, path)}") from error
    found = _decorated[before:]
    if not found:
        raise UsageError(f"{path}: declares no benchmark (use @benchmark of benches.declare)")
    return found
