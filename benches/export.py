# SPDX-License-Identifier: Apache-2.0
"""Results in the formats of other tools."""

import csv
import io
import json
from pathlib import Path

from benches import inference, stats, table
from benches.declare import UsageError
from benches.result import write_text


def pyperf(run):
    """pyperf's JSON: `python -m pyperf show|compare_to` read it. Exact counts are integers."""
    benchmarks = []
    units = {"second": "second", "byte": "byte"}
    for row in run.rows:
        values = [v for v in row.values if v > 0]
        if not values:
            continue  # pyperf refuses what takes no time
        metadata = {"name": row.id, "unit": units.get(row.unit, "integer"), "loops": row.loops}
        if row.unit != "second":
            values = [int(v) for v in values]
        benchmarks.append({"metadata": metadata, "runs": [{"values": values}]})
    told = {k: v for k, v in run.fingerprint.items() if v is not None}
    common = {
        "cpu_model_name": told.get("cpu"), "platform": told.get("kernel"),
        "python_version": told.get("python"), "perf_version": "2.0.0",
        "timer": f"perf_counter_ns, step {told.get('timer_step_ns')} ns",
    }  # fmt: skip
    metadata = {k: str(v) for k, v in common.items() if v is not None}
    return _json({"version": "1.0", "metadata": metadata, "benchmarks": benchmarks})


def google(run):
    """Google Benchmark's JSON, one entry for each repetition, for its compare.py."""
    out = []
    for row in run.rows:
        if row.unit != "second":
            continue
        values = row.values
        for i, value in enumerate(values):
            out.append({
                "name": row.id, "run_name": row.id, "run_type": "iteration",
                "family_index": 0, "per_family_instance_index": 0,
                "repetitions": len(values), "repetition_index": i, "threads": 1,
                "iterations": row.loops, "real_time": value * 1e9, "cpu_time": value * 1e9,
                "time_unit": "ns",
            })  # fmt: skip
    f = run.fingerprint
    context = {
        "date": run.date, "host_name": "", "executable": "benches.suite",
        "num_cpus": f.get("cores") or 1, "mhz_per_cpu": (f.get("freq_max_khz") or 0) // 1000,
        "cpu_scaling_enabled": f.get("governor") not in (None, "performance"), "caches": [],
        "load_avg": (run.conditions.get("before") or {}).get("load", []),
        "library_build_type": "release",
    }  # fmt: skip
    return _json({"context": context, "benchmarks": out})


def bencher(run):
    """Bencher Metric Format: the median with its interval. Time is in nanoseconds."""
    measures = {"second": ("latency", 1e9), "byte": ("file-size", 1.0)}
    out = {}
    for row in run.rows:
        if not row.samples:
            continue
        name, scale = measures.get(row.unit, (row.unit + "s", 1.0))
        interval = inference.median_interval(row.values)
        out[row.id] = {
            name: {
                "value": interval.point * scale,
                "lower_value": interval.lo * scale,
                "upper_value": interval.hi * scale,
            }
        }
    return _json(out)


def github(run):
    """github-action-benchmark's customSmallerIsBetter: the median, and the spread as text."""
    out = []
    for row in run.rows:
        if not row.samples:
            continue
        scale, unit = (1e9, "ns") if row.unit == "second" else (1.0, row.unit)
        s = row.summary
        out.append({
            "name": row.id, "unit": unit, "value": s.median * scale,
            "range": f"± {s.mad * stats.MAD_TO_SIGMA * scale:.4g}",
            "extra": f"min {s.min * scale:.6g} {unit}, {s.n} samples of {row.loops}",
        })  # fmt: skip
    return _json(out)


FIELDS = ("id", "key", "level", "unit", "n", "loops", "min", "max", "mean", "median", "p5",
          "p95", "p99", "stddev", "mad", "n_mild", "n_severe", "allocations")  # fmt: skip


def as_csv(run):
    """One line of statistics for each row, in its unit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in run.rows:
        s = row.summary
        told = {"id": row.id, "key": row.key, "level": row.level, "unit": row.unit,
                "loops": row.loops, "allocations": row.allocations, **s._asdict()}  # fmt: skip
        writer.writerow(["" if told[name] is None else told[name] for name in FIELDS])
    return out.getvalue()


def markdown(run):
    """A table for a pull request."""
    out = [
        "| benchmark | scalar | SIMD | gain | min | rate | target |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for line in table.lines(run):
        scalar = line.scalar.summary.median if line.scalar else None
        simd = line.simd.summary.median if line.simd else None
        gain = "" if line.gain is None else f"{line.gain:.1f}"
        out.append(
            f"| {line.key} | {table.quantity(scalar)} | {table.quantity(simd)} | {gain} | "
            f"{table.quantity(line.best.summary.min)} | {table.rate(line.best)} | {line.verdict} |"
        )
    return "\n".join(out) + "\n"


FORMATS = {"pyperf": pyperf, "google": google, "bencher": bencher, "github": github,
           "csv": as_csv, "markdown": markdown}  # fmt: skip


def target(text):
    """Returns (format, path) of "FORMAT=FILE"; raises UsageError."""
    form, separator, path = text.partition("=")
    if not separator or not path or form not in FORMATS:
        raise UsageError(f"--export {text}: FORMAT=FILE with one of {', '.join(FORMATS)}")
    return form, Path(path)


def write(form, path, report):
    """Writes a report in a format; raises OSError."""
    write_text(path, FORMATS[form](report.run))


def _json(data):
    return json.dumps(data, indent=1) + "\n"
