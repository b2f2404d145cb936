# SPDX-License-Identifier: Apache-2.0
"""
Results: rows of raw samples, runs of rows on one machine, files of runs.

Everything here is immutable and checks itself; what a file holds is checked field by field before
it is used, and a file that is not understood is refused and left as it is.
"""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benches import stats
from kernel_llm.files import atomic_write

FORMAT = "kernel-llm-bench"

# History of the schema:
# 1  first: {"format", "version", "runs": [{"date", "fingerprint", "conditions", "rows": [Row]}]}
VERSION = 1

# unit: what one raw number counts, as a share of the unit
UNITS = {"second": 1e-9, "instruction": 1.0, "cycle": 1.0, "byte": 1.0}
CLOCKS = ("wall", "insn", "emulated")

# Runs are compared only where these agree; the other fields are told, not judged.
IDENTITY = {
    "wall": ("clock", "arch", "cpu", "part", "board", "cores", "governor", "freq_max_khz"),
    "insn": ("clock", "arch"),
    "emulated": ("clock", "arch", "cpu"),
}
N_BASELINE = 101  # order statistics a baseline keeps of a row


class ResultError(Exception):
    """A file of results that cannot be used; the message is one line that names the file."""


@dataclass(frozen=True)
class Row:
    """
    One benchmark at one level of code.

    id: "dot/f32/avx2/384"; key: the table row it belongs to, "dot/f32/384".
    level: "scalar", "simd" or "" where there is only one.
    samples: raw counts (nanoseconds, instructions, bytes), each of `loops` operations.
    work: what one operation does, any of flop, byte, item (and `item_name`, a str).
    seconds_target: the published target of one operation; None without one.
    model_hash: hash of the model's bytes, "" without a model.
    """

    id: str
    samples: tuple
    loops: int = 1
    unit: str = "second"
    key: str = ""
    level: str = ""
    n_warmup: int = 0
    work: dict = field(default_factory=dict)
    seconds_target: float | None = None
    allocations: float | None = None
    counters: dict = field(default_factory=dict)
    model_hash: str = ""
    note: str = ""

    def __post_init__(self):
        _need(isinstance(self.id, str) and self.id, "id: a text that is not empty")
        _need(self.unit in UNITS, f"{self.id}: unit: one of {', '.join(UNITS)}")
        for name in ("key", "level", "model_hash", "note"):
            _need(isinstance(getattr(self, name), str), f"{self.id}: {name}: text")
        for name, least in (("loops", 1), ("n_warmup", 0)):
            value = getattr(self, name)
            _need(type(value) is int and value >= least, f"{self.id}: {name}: {least} or more")
        _need(isinstance(self.samples, (list, tuple)), f"{self.id}: samples: a list")
        object.__setattr__(self, "samples", tuple(self.samples))
        for value in self.samples:
            _need(_is_count(value), f"{self.id}: samples: finite numbers of 0 or more")
        for name in ("work", "counters"):
            _need(isinstance(getattr(self, name), dict), f"{self.id}: {name}: an object")
        for name, value in self.work.items():
            text = name == "item_name"
            _need(isinstance(value, str) if text else _is_count(value), f"{self.id}: work.{name}")
        for name in ("seconds_target", "allocations"):
            value = getattr(self, name)
            _need(value is None or _is_count(value), f"{self.id}: {name}: a number or null")
        if not self.key:
            object.__setattr__(self, "key", self.id)

    @property
    def values(self):
        """The samples in `unit` per operation."""
        scale = UNITS[self.unit] / self.loops
        return [s * scale for s in self.samples]

    @property
    def summary(self):
        """The stats.Summary of `values`."""
        return stats.summary(self.values)


@dataclass(frozen=True)
class Run:
    """Rows measured on one machine with one clock. Ids are unique."""

    rows: tuple
    fingerprint: dict
    conditions: dict = field(default_factory=dict)
    date: str = ""

    def __post_init__(self):
        object.__setattr__(self, "rows", tuple(self.rows))
        ids = [row.id for row in self.rows]
        twice = {i for i in ids if ids.count(i) > 1}
        _need(not twice, f"rows: {', '.join(sorted(twice))} given twice")
        _need(isinstance(self.fingerprint, dict), "fingerprint: an object")
        _need(self.fingerprint.get("clock") in CLOCKS, "fingerprint.clock: " + ", ".join(CLOCKS))
        _need(isinstance(self.conditions, dict), "conditions: an object")
        _need(isinstance(self.date, str), "date: text")

    @property
    def clock(self):
        return self.fingerprint["clock"]

    def row(self, row_id):
        """Returns the row of that id, or None."""
        return next((row for row in self.rows if row.id == row_id), None)


def differing(a, b):
    """Returns the names of the fields that keep two runs from being compared; [] if none do."""
    if a.clock != b.clock:
        return ["clock"]
    names = IDENTITY[a.clock]
    return [n for n in names if a.fingerprint.get(n) != b.fingerprint.get(n)]


def load(path):
    """
    Returns the runs of a file, oldest first.

    Raises ResultError, with the file untouched, if it cannot be read, is not JSON, follows
    another format, a newer schema, or breaks a rule of Row or Run.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{path}: cannot be read: {_reason(error)}") from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ResultError(f"{path}: not a result file of this suite (no format {FORMAT!r})")
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise ResultError(f"{path}: version: a whole number of 1 or more")
    if version > VERSION:
        raise ResultError(
            f"{path}: written by a newer suite (schema {version}, this one reads {VERSION}): "
            "update, or read it where it was written"
        )
    try:
        return [_run_of(item) for item in _list_of(data, "runs")]
    except (ValueError, TypeError) as error:
        raise ResultError(f"{path}: damaged: {error}") from None


def save(path, runs):
    """Writes runs to a file: whole or not at all. Raises OSError."""
    write_text(path, dump(runs))


def dump(runs):
    """Returns runs as JSON, a row in a line, so that a changed row changes one line."""
    parts = ['{"format": %s, "version": %d, "runs": [' % (json.dumps(FORMAT), VERSION)]
    for i, run in enumerate(runs):
        head = {k: v for k, v in vars(run).items() if k != "rows"}
        parts.append(
            ("," if i else "") + "\n" + json.dumps(head, sort_keys=True)[:-1] + ', "rows": ['
        )
        rows = [json.dumps(_told(row), sort_keys=True) for row in run.rows]
        parts.append("\n " + ",\n ".join(rows) + "\n]}" if rows else "]}")
    return "".join(parts) + "\n]}\n"


def write_text(path, text):
    """Writes a text file whole or not at all; raises OSError."""
    with atomic_write(path) as file:
        file.write(text.encode())


def thinned(row):
    """Returns the row with at most N_BASELINE of its order statistics, extremes included."""
    n = len(row.samples)
    if n <= N_BASELINE:
        return row
    ordered = sorted(row.samples)
    picked = [ordered[round(i * (n - 1) / (N_BASELINE - 1))] for i in range(N_BASELINE)]
    note = f"order statistics of {n} samples"
    return Row(**{**asdict(row), "samples": picked, "note": note})


def record(path, run):
    """
    Puts a run into a baseline file in place of the one of the same machine and clock, row by row:
    rows not measured now stay. Creates the file if it is missing; raises ResultError, OSError.
    """
    runs = load(path) if os.path.exists(path) else []
    new = [thinned(row) for row in run.rows]
    kept, place = [], len(runs)
    for i, old in enumerate(runs):
        if not differing(old, run):
            ids = {row.id for row in new}
            kept, place = [row for row in old.rows if row.id not in ids], i
    rows = sorted(kept + new, key=lambda row: row.id)
    merged = Run(rows, run.fingerprint, run.conditions, run.date)
    save(path, [*runs[:place], merged, *runs[place + 1 :]])


def baseline_of(runs, run):
    """Returns (run of the same machine and clock, []), or (None, fields that differ least)."""
    best = None
    for other in reversed(runs):
        fields = differing(other, run)
        if not fields:
            return other, []
        if best is None or len(fields) < len(best):
            best = fields
    return None, best or []


# ------------------------------------------------------------------------------------ inner parts


def _told(row):
    """Returns the fields of a row that say more than their default."""
    plain = {"key": row.id, "level": "", "n_warmup": 0, "work": {}, "seconds_target": None,
             "allocations": None, "counters": {}, "model_hash": "", "note": ""}  # fmt: skip
    return {k: v for k, v in vars(row).items() if k not in plain or v != plain[k]}


def _need(condition, message):
    if not condition:
        raise ValueError(message)


def _is_count(value):
    return type(value) in (int, float) and 0 <= value < math.inf


def _list_of(data, name):
    _need(isinstance(data, dict), "an object is missing")
    items = data.get(name)
    _need(isinstance(items, list), f"{name}: a list")
    return items


def _run_of(item):
    rows = [_row_of(row) for row in _list_of(item, "rows")]
    known = {k: item[k] for k in ("fingerprint", "conditions", "date") if k in item}
    return Run(rows=rows, **known)


def _row_of(item):
    _need(isinstance(item, dict), "rows: objects")
    for name in item:
        _need(name in Row.__dataclass_fields__, f"rows: no field is called {name!r}")
    _need("samples" in item, "rows: samples: a list")
    return Row(**{"id": "", **item})


def _reason(error):
    return getattr(error, "strerror", None) or str(error)
