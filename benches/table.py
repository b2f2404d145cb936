# SPDX-License-Identifier: Apache-2.0
"""The table of a run: one line for each row, 100 columns, targets judged."""

import textwrap
from dataclasses import dataclass, replace

from benches import stats
from benches.declare import STREAM_BYTES

WIDTH = 100
HEADS = (
    ("benchmark", 26), ("scalar", 7), ("simd", 7), ("gain", 5), ("min", 7), ("mean", 7),
    ("sd", 5), ("rate", 10), ("limit", 5), ("alloc", 5), ("target", 6),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row of the table: the rows of a run that share a key, judged."""

    key: str
    scalar: object
    simd: object
    limit: float | None  # of the bandwidth measured at this size

    @property
    def best(self):
        return self.simd or self.scalar

    @property
    def verdict(self):
        """ "pass", "MISS", or "" without a target."""
        target = self.best.seconds_target
        if target is None:
            return ""
        return "pass" if self.best.summary.median <= target else "MISS"

    @property
    def gain(self):
        if self.simd is None or self.scalar is None or self.simd is self.scalar:
            return None
        return self.scalar.summary.median / self.simd.summary.median


def lines(run):
    """Returns the Lines of a run, in its order."""
    keys = {}
    for row in run.rows:
        if row.samples:
            keys.setdefault(row.key, {})[row.level] = row
    bandwidth = _bandwidths(run)
    out = []
    for key, found in keys.items():
        if run.clock == "emulated":  # no time to judge
            found = {level: replace(row, seconds_target=None) for level, row in found.items()}
        simd = found.get("simd")
        scalar = found.get("scalar") or found.get("")
        best = simd or scalar
        out.append(Line(key, scalar, simd, _limit(best, bandwidth)))
    return out


def _bandwidths(run):
    """
    Returns {footprint in bytes: bytes per second} for the sizes of the stream rows: the most that
    one of them or a kernel of such a footprint reached.
    """
    out = {}
    rows = [r for r in run.rows if r.samples and "byte" in r.work and "foot" in r.work]
    for row in sorted(rows, key=lambda r: not r.key.startswith("stream/")):
        n_bytes = _step(row)
        is_known = row.key.startswith("stream/") or n_bytes in out
        if is_known and row.work.get("item_name") != "token":  # a model may use many cores
            rate = stats.throughput(row.summary.min, row.work["byte"]) or 0.0
            out[n_bytes] = max(out.get(n_bytes, 0.0), rate)
    return out


def _step(row):
    """Returns the size of the stream rows that is nearest to a row's footprint, by its factor."""
    foot = max(1, row.work["foot"])
    return min(STREAM_BYTES.values(), key=lambda n: max(n / foot, foot / n))


def _limit(row, bandwidth):
    """Returns the share of the bandwidth measured for that footprint, None if unknown."""
    if row.key.startswith("stream/") or "byte" not in row.work or "foot" not in row.work:
        return None
    rate = bandwidth.get(_step(row))
    if not rate or row.summary.median == 0:
        return None
    return row.work["byte"] / row.summary.median / rate


def render(report):
    """Yields (text, style) of the whole table; style is "", "head", "good" or "bad"."""
    found = lines(report.run)
    yield _cells([name for name, _ in HEADS]), "head"
    for line in found:
        style = {"MISS": "bad", "pass": "good"}.get(line.verdict, "")
        yield _cells(_texts(line)), style
    yield "", ""
    for text, is_warning in notes(report, found):
        for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False):
            yield line, "bad" if is_warning else ""


def notes(report, found):
    """Yields (line below the table, whether it is a warning)."""
    run = report.run
    f, c = run.fingerprint, run.conditions
    judged = [line for line in found if line.verdict]
    if run.clock == "emulated":
        yield f"clock: emulated ({f.get('qemu')}): that it runs, not how fast", False
    missed = [line.key for line in judged if line.verdict == "MISS"]
    board = f", {f['board']}" if f.get("board") else ""
    yield (
        f"{f.get('cpu')} ({f.get('arch')}), {f.get('cores')} cores{board}, governor "
        f"{f.get('governor') or 'not told'}, timer step {f.get('timer_step_ns')} ns",
        False,
    )
    if judged:
        told = f"; missed: {', '.join(missed)}" if missed else ""
        yield (
            f"targets (published for a 1 GHz Cortex-A53): {len(judged) - len(missed)} of "
            f"{len(judged)} met{told}",
            bool(missed),
        )
    others = c.get("others")
    if others is not None and others > 0.2:
        yield f"other programs used {others:.1f} cores meanwhile: trust min, not medians", True
    if c.get("throttled"):
        yield "the CPU was throttled for heat or power: these figures are not valid", True
    leaks = [x.key for x in found if x.best.allocations]
    if leaks:
        yield f"allocations where there must be none: {', '.join(leaks)}", True
    for name, why in sorted(_grouped(report.reasons or {}).items()):
        yield f"not measured: {name}: {why}", False
    if any(row.counters for row in run.rows):
        yield "instructions, cycles, misses and energy of each row: --json or --html", False
    for row in report.failed:
        yield f"failed: {row.key}: {row.reason}", True
    for skip in report.skipped:
        yield f"skipped: {skip.key}: {skip.reason}", False
    if not report.is_whole:
        yield "interrupted: this is what was measured until then", True


def _grouped(reasons):
    """Joins names that share a reason."""
    by_reason = {}
    for name, why in reasons.items():
        by_reason.setdefault(why, []).append(name)
    return {", ".join(names): why for why, names in by_reason.items()}


def _texts(line):
    s = line.best.summary
    scalar = line.scalar.summary.median if line.scalar else None
    simd = line.simd.summary.median if line.simd else None
    share = s.stddev / s.mean if s.mean else 0.0
    allocations = line.best.allocations
    target = line.best.seconds_target
    return (
        line.key, quantity(scalar), quantity(simd),
        f"{line.gain:.1f}x" if line.gain else "", quantity(s.min), quantity(s.mean),
        f"{min(share * 100, 999):.0f}%" + ("!" if s.has_outliers else ""), rate(line.best),
        f"{line.limit * 100:.0f}%" if line.limit else "",
        "" if allocations is None else f"{allocations:g}",
        "" if target is None else line.verdict,
    )  # fmt: skip


def _cells(texts):
    cells = []
    for i, (text, (_, width)) in enumerate(zip(texts, HEADS, strict=True)):
        cells.append(f"{text[:width]:<{width}}" if i == 0 else f"{text:>{width}}")
    return " ".join(cells).rstrip()


def quantity(seconds):
    """Returns a time in three digits with its unit, "1.23 ms"; "" for None."""
    if seconds is None:
        return ""
    for scale, unit in ((1, "s "), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")):
        if seconds >= scale * 0.9995 or unit == "ns":
            return f"{_digits(seconds / scale)}{unit}"
    return ""


def rate(row):
    """Returns what a row gets through: tokens, characters, flops or bytes a second."""
    median = row.summary.median
    if not median:
        return ""
    work = row.work
    if work.get("item_name") == "token":
        return f"{_digits(work['item'] / median)} tok/s"
    if work.get("item_name") == "char":
        return f"{_digits(work['item'] / median / 1e6)} MB/s"
    if "flop" in work:
        return f"{_digits(work['flop'] / median / 1e9)} GF/s"
    if "byte" in work:
        return f"{_digits(work['byte'] / median / 1e9)} GB/s"
    return ""


def _digits(x):
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"
