# SPDX-License-Identifier: Apache-2.0
"""One page that holds everything and needs no network: page.html, filled in."""

import html as markup
import json
import string
from pathlib import Path

from benches import inference, stats, table
from benches.result import dump, write_text

TEMPLATE = Path(__file__).with_suffix(".html")
HEADS = ("benchmark", "scalar", "SIMD", "gain", "±", "min", "samples", "rate", "limit", "alloc",
         "target")  # fmt: skip
GROUPS = {"stream": "Machine limits", "control": "Machine limits", "generate": "Whole models",
          "batch": "Whole models"}  # fmt: skip
OTHER = "Components"
N_BIN = 36
WIDE = 10  # mad on either side in a histogram


def write(path, report, history=()):
    """Writes the page of a report; history: earlier runs, whose medians each row shows."""
    run = report.run
    lines = table.lines(run)
    past = [h for h in history if h.clock == run.clock]
    groups = {}
    for line in lines:
        groups.setdefault(_group(line), []).append(line)
    facts = {k: v for k, v in run.fingerprint.items() if v is not None}
    page = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    text = page.substitute(
        date=_safe(run.date.replace("T", " ").replace("Z", " UTC")),
        subtitle=_safe(" · ".join(facts[k] for k in ("cpu", "board", "revision") if k in facts)),
        cards="".join(f"<div class=card><b>{_safe(b)}</b><span>{_safe(s)}</span></div>"
                      for b, s in _cards(report, lines)),
        notes="".join(f"<p class={'warn' if is_bad else 'note'}>{_safe(t)}</p>"
                      for t, is_bad in table.notes(report, lines)),
        tables="".join(_table(name, found, past) for name, found in groups.items()),
        facts="".join(f"<div><dt>{k}</dt><dd>{_safe(v)}</dd></div>" for k, v in facts.items()),
        results=_json(dump([run])),
        about=_json(json.dumps(report.about or {})),
    )  # fmt: skip
    write_text(path, text)


def _group(line):
    is_model = line.best.work.get("item_name") == "token"
    return GROUPS.get(line.key.partition("/")[0], "Whole models" if is_model else OTHER)


def _cards(report, lines):
    """Yields (figure, what it is)."""
    judged = [line for line in lines if line.verdict]
    if judged:
        met = sum(line.verdict == "pass" for line in judged)
        yield f"{met} of {len(judged)}", "targets met (1 GHz Cortex-A53)"
    gains = sorted(line.gain for line in lines if line.gain)
    if gains:
        yield f"{stats.median(gains):.1f}x", f"SIMD over scalar, median; up to {gains[-1]:.0f}x"
    models = [line for line in lines if line.best.work.get("item_name") == "token"]
    if models:
        fastest = max(models, key=lambda line: line.best.work["item"] / line.best.summary.median)
        yield table.rate(fastest.best), fastest.key
    counted = [x.best.allocations for x in lines if x.best.allocations is not None]
    if counted:
        yield f"{sum(counted):g}", f"allocations in {len(counted)} rows"
    yield f"{sum(len(row.samples) for row in report.run.rows):,}", "samples"


def _table(name, lines, past):
    heads = [*HEADS, "history"] if past else HEADS
    head = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join(_row(line, past) for line in lines)
    return (
        f"<h2>{name}</h2><div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(line, past):
    row, s = line.best, line.best.summary
    interval = inference.median_interval(row.values)
    half = (interval.hi - interval.lo) / 2 / (s.median or 1)
    cells = [
        (_safe(line.key), None),
        *(_time(found) for found in (line.scalar, line.simd)),
        ("" if line.gain is None else f"{line.gain:.1f}x", line.gain or 0),
        (f"<span class=dim>{100 * half:.1f} %</span>", half),
        (table.quantity(s.min), s.min),
        (_histogram(row), s.stddev / (s.mean or 1)),
        (_safe(table.rate(row)), None),
        (_bar(line.limit), line.limit or 0),
        ("" if row.allocations is None else f"{row.allocations:g}", row.allocations or 0),
        _target(line),
    ]
    if past:
        cells.append((_history(row, past), None))
    out = "".join(
        f"<td{'' if value is None else f' data-v={value:.6g}'}>{text}</td>"
        for text, value in cells
    )
    return f"<tr class=row>{out}</tr>"


def _time(row):
    return ("", 0) if row is None else (table.quantity(row.summary.median), row.summary.median)


def _bar(share):
    if not share:
        return ""
    percent = f"{share * 100:.0f}"
    return f"{percent} %<span class=bar><i style=width:{percent}%></i></span>"


def _target(line):
    """The verdict, and how many times faster or slower than the target."""
    if not line.verdict or not line.best.summary.median:
        return "", 0
    times = line.best.seconds_target / line.best.summary.median
    text = f"{times:.0f}x" if times >= 10 else f"{times:.1f}x"
    return f"<span class={line.verdict}>{line.verdict}</span> <span class=dim>{text}</span>", times


def _histogram(row):
    """Returns an SVG: the samples up to WIDE mad from the median, the rest at the ends."""
    values, s = row.values, row.summary
    lo, hi = max(s.min, s.median - WIDE * s.mad), min(s.max, s.median + WIDE * s.mad)
    hi = hi if hi > lo else lo * 1.01 or 1.0
    counts = [0] * N_BIN
    for v in values:
        counts[max(0, min(N_BIN - 1, int((v - lo) / (hi - lo) * N_BIN)))] += 1
    top = max(counts)
    bars = "".join(
        f"<rect x={3 * i} y={22 - 20 * c / top:.1f} width=2.4 height={20 * c / top:.1f} />"
        for i, c in enumerate(counts)
        if c
    )
    at = (s.median - lo) / (hi - lo) * 3 * N_BIN
    return (
        f"<svg width={3 * N_BIN} height=22 role=img aria-label=histogram "
        f"class={row.level or 'scalar'}>{bars}<path class=mark d='M{at:.1f} 0V22'/></svg>"
    )


def _history(row, past):
    """Returns an SVG line of the row's medians, oldest left, and how the last one compares."""
    found = [h.row(row.id) for h in past]
    medians = [r.summary.median for r in found if r is not None and r.samples]
    medians.append(row.summary.median)
    if len(medians) < 2 or not min(medians):
        return ""
    lo, hi = min(medians), max(medians)
    points = " ".join(
        f"{4 + 72 * i / (len(medians) - 1):.1f},{18 - 14 * (m - lo) / ((hi - lo) or 1):.1f}"
        for i, m in enumerate(medians)
    )
    change = 100 * (medians[-1] / medians[-2] - 1)
    return (
        f"<svg width=80 height=22 role=img aria-label=history><polyline class=mark "
        f"points='{points}'/></svg> <span class=dim>{change:+.1f} %</span>"
    )


def _safe(text):
    return markup.escape(str(text))


def _json(text):
    """JSON that cannot end a script element."""
    return text.replace("<", "\\u003c")
