# SPDX-License-Identifier: Apache-2.0
"""What people look at: a plot of distributions and history, and one page that holds everything."""

import html as markup

from benches import stats, table
from benches.result import ResultError, dump, write_text

COLOURS = {"scalar": "#8a8f98", "simd": "#1f77b4", "": "#8a8f98"}


def plot(path, run, history=()):
    """
    Draws the distribution of each row and, below, its median over the runs of history.

    The form follows the name's ending. Raises ResultError if matplotlib is missing or the file
    cannot be written.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise ResultError("--plot needs matplotlib: pip install 'kernel-llm[plot]'") from None
    rows = [row for row in run.rows if row.samples]
    past = [h for h in history if h.clock == run.clock]
    height = 0.32 * len(rows) + 1.6
    figure, axes = pyplot.subplots(
        1, 2 if past else 1, figsize=(15 if past else 10, height), squeeze=False, sharey=True
    )
    places = range(len(rows), 0, -1)
    _boxes(axes[0][0], rows, places)
    if past:
        _history(axes[0][1], rows, places, [*past, run])
    figure.suptitle(f"{run.fingerprint.get('cpu')}, {run.date}", fontsize=10)
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: {error}") from None
    finally:
        pyplot.close(figure)


def _boxes(axis, rows, places):
    """Each row over its median: quartiles as a bar, 5th to 95th percentile, what lies outside."""
    for row, y in zip(rows, places, strict=True):
        middle = row.summary.median or 1
        values = [v / middle for v in row.values]
        low, q1, q3, high = (stats.percentile(values, p) for p in (5, 25, 75, 95))
        axis.plot([low, high], [y, y], color=COLOURS[row.level], linewidth=1)
        axis.barh(y, q3 - q1, left=q1, height=0.6, color=COLOURS[row.level], alpha=0.6)
        outside = [v for v in values if v < low or v > high]
        axis.plot(outside, [y] * len(outside), ".", markersize=2, alpha=0.3, color="black")
        axis.plot([1, 1], [y - 0.3, y + 0.3], color="black", linewidth=1)
    axis.set_yticks(list(places), [f"{r.id}  {table.quantity(r.summary.median)}" for r in rows],
                    fontsize=7)  # fmt: skip
    axis.set_xscale("log")
    axis.margins(y=0.01)
    axis.set_xlabel("time / median of the row")
    axis.grid(axis="x", alpha=0.3)


def _history(axis, rows, places, runs):
    """Each row's median over the runs, oldest left, as a line about its place."""
    for row, y in zip(rows, places, strict=True):
        medians = [r.row(row.id).summary.median if r.row(row.id) else None for r in runs]
        known = [m for m in medians if m]
        if len(known) < 2:
            continue
        xs = [i for i, m in enumerate(medians) if m]
        axis.plot(xs, [y + (m / known[-1] - 1) for m in known], marker=".", linewidth=1,
                  color=COLOURS[row.level])  # fmt: skip
        axis.axhline(y, color="#dddddd", linewidth=0.5, zorder=0)
    axis.set_xticks(range(len(runs)), [r.date[:10] for r in runs], fontsize=7, rotation=45)
    axis.set_xlabel("run; a line one row higher is twice as slow as now")


STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:96em;padding:0 1em;
color:#1c2024;background:#fff}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25em .5em;text-align:right;border-bottom:1px solid #e6e8eb;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{cursor:pointer;position:sticky;top:0;background:#fff}
.pass{color:#177245}.MISS{color:#b3261e;font-weight:600}
svg{display:block}dt{font-weight:600}dd{margin:0 0 .3em 1em}
.wide{overflow-x:auto}input{font:inherit;padding:.3em .6em;margin:.8em 0;width:20em}
@media(prefers-color-scheme:dark){body,th{background:#15181b;color:#e4e6e9}
th,td{border-color:#30353a}.pass{color:#62c894}.MISS{color:#ff8a80}}
"""

SCRIPT = """
const rows=[...document.querySelectorAll('tbody tr')];
document.getElementById('filter').oninput=e=>rows.forEach(r=>
 r.hidden=!r.cells[0].textContent.includes(e.target.value));
document.querySelectorAll('th').forEach((th,i)=>th.onclick=()=>{
 const key=r=>r.cells[i].dataset.v===undefined?r.cells[i].textContent:+r.cells[i].dataset.v;
 const down=th.dataset.down=th.dataset.down==='1'?'0':'1';
 rows.sort((a,b)=>{const x=key(a),y=key(b);return (x<y?-1:x>y?1:0)*(down==='1'?1:-1)});
 document.querySelector('tbody').append(...rows)});
"""


def html(path, report, history=()):
    """Writes a page that needs no network: table, distributions, machine, the raw results."""
    run = report.run
    heads = ["benchmark", "scalar", "SIMD", "gain", "min", "mean", "median, 95 %", "distribution",
             "rate", "of limit", "alloc", "target"]  # fmt: skip
    lines = [_html_row(line, history, run.clock) for line in table.lines(run)]
    facts = {k: v for k, v in run.fingerprint.items() if v is not None}
    notes = [markup.escape(text) for text in table.notes(report, table.lines(run))]
    raw = dump([run]).replace("<", "\\u003c")
    text = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><link rel=icon href='data:,'>"
        f"<title>kernel-llm benchmarks {run.date}</title><style>{STYLE}</style>"
        f"<h1>kernel-llm benchmarks</h1><p>{run.date}</p>"
        + "".join(f"<p>{note}</p>" for note in notes)
        + "<input id=filter placeholder='filter rows' aria-label='filter rows'>"
        "<div class=wide><table><thead><tr>"
        + "".join(f"<th>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div><h2>Machine</h2><dl>"
        + "".join(f"<dt>{k}<dd>{markup.escape(str(v))}" for k, v in facts.items())
        + f"</dl><script type=application/json id=results>{raw}</script>"
        f"<script>{SCRIPT}</script></html>\n"
    )
    write_text(path, text)


def _html_row(line, history, clock):
    s = line.best.summary
    interval = stats.median_interval(line.best.values)
    between = f"{table.quantity(interval.lo)} … {table.quantity(interval.hi)}"
    gain = "" if line.gain is None else f"{line.gain:.1f}x"
    allocations = line.best.allocations
    cells = [
        (line.key, None),
        (table.quantity(line.scalar.summary.median) if line.scalar else "",
         line.scalar.summary.median if line.scalar else 0),
        (table.quantity(line.simd.summary.median) if line.simd else "",
         line.simd.summary.median if line.simd else 0),
        (gain, line.gain or 0), (table.quantity(s.min), s.min), (table.quantity(s.mean), s.mean),
        (between, interval.point), (_spark(line.best, history, clock), s.stddev / (s.mean or 1)),
        (table.rate(line.best), None),
        (f"{line.limit * 100:.0f} %" if line.limit else "", line.limit or 0),
        ("" if allocations is None else f"{allocations:g}", None),
        (f"<span class={line.verdict}>{line.verdict}</span>" if line.verdict else "", None),
    ]  # fmt: skip
    title = markup.escape(line.best.note or f"{s.n} samples of {line.best.loops} operations")
    out = []
    for i, (text, value) in enumerate(cells):
        order = "" if value is None else f" data-v={value:.6g}"
        safe = text if i in (7, 11) else markup.escape(text)
        out.append(f"<td{order}>{safe}</td>")
    return f"<tr title='{title}'>{''.join(out)}</tr>"


def _spark(row, history, clock):
    """
    Returns an SVG: a histogram from min to the 99th percentile or twice the median, and the
    medians of history as dots.
    """
    values = sorted(row.values)
    lo, hi = values[0], min(stats.percentile(values, 99), 2 * stats.median(values))
    n_bin = 30
    counts = [0] * n_bin
    for v in values:
        if hi > lo and v <= hi:
            counts[min(n_bin - 1, int((v - lo) / (hi - lo) * n_bin))] += 1
    top = max(counts) or 1
    bars = "".join(
        f"<rect x={4 * i} y={24 - 22 * c / top:.1f} width=3 height={22 * c / top:.1f} />"
        for i, c in enumerate(counts)
        if c
    )
    dots = ""
    past = [h.row(row.id) for h in history if h.clock == clock]
    for i, old in enumerate(o for o in past if o is not None and o.samples):
        ratio = old.summary.median / (stats.median(values) or 1)
        dots += f"<circle cx={124 + 5 * i} cy={max(2, min(22, 12 / ratio)):.1f} r=2 />"
    width = 124 + 5 * len(past) + 4
    colour = COLOURS[row.level]
    head = f"<svg width={width} height=24 role=img aria-label=histogram fill='{colour}'>"
    return f"{head}{bars}{dots}</svg>"
