# SPDX-License-Identifier: Apache-2.0
"""A plot of distributions and history."""

from benches import stats, table
from benches.result import ResultError
from kernel_llm.files import atomic_write

COLOURS = {"scalar": "#8a8f98", "simd": "#1f77b4", "": "#8a8f98"}
EDGES = (0.8, 1.5)  # of the figure, in medians


def check(path):
    """Raises ResultError, before anything is measured, if no plot of that name can be drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ResultError("--plot needs matplotlib: pip install 'kernel-llm[plot]'") from None
    forms = Figure().canvas.get_supported_filetypes()
    if _form(path) not in forms:
        raise ResultError(f"{path}: the name must end in one of .{' .'.join(sorted(forms))}")


def _form(path):
    return path.suffix[1:].lower()


def plot(path, run, history=()):
    """
    Draws the distribution of each row and, below, its median over the runs of history.

    path: as check wants it. Raises OSError.
    """
    from matplotlib.figure import Figure

    rows = [row for row in run.rows if row.samples]
    past = [h for h in history if h.clock == run.clock]
    height = 0.32 * len(rows) + 1.6
    figure = Figure(figsize=(15 if past else 10, height), layout="constrained")
    axes = figure.subplots(1, 2 if past else 1, squeeze=False, sharey=True)
    places = range(len(rows), 0, -1)
    _boxes(axes[0][0], rows, places)
    if past:
        _history(axes[0][1], rows, places, [*past, run])
    levels = "grey: portable code; blue: the best code of this CPU"
    figure.suptitle(f"{run.fingerprint.get('cpu')}, {run.date}\n{levels}", fontsize=10)
    with atomic_write(path) as file:
        figure.savefig(file, dpi=110, format=_form(path))


def _boxes(axis, rows, places):
    """Each row over its median: quartiles as a bar, 5th to 95th percentile, what lies outside."""
    for row, y in zip(rows, places, strict=True):
        middle = row.summary.median or 1
        values = [v / middle for v in row.values]
        low, q1, q3, high = (stats.percentile(values, p) for p in (5, 25, 75, 95))
        axis.plot([low, min(high, EDGES[1])], [y, y], color=COLOURS[row.level], linewidth=1)
        axis.barh(y, q3 - q1, left=q1, height=0.6, color=COLOURS[row.level], alpha=0.6)
        outside = [min(max(v, EDGES[0]), EDGES[1]) for v in values if v < low or v > high]
        axis.plot(outside, [y] * len(outside), ".", markersize=2, alpha=0.3, color="black")
        axis.plot([1, 1], [y - 0.3, y + 0.3], color="black", linewidth=1)
    axis.set_yticks(list(places), [f"{r.id}  {table.quantity(r.summary.median)}" for r in rows],
                    fontsize=7)  # fmt: skip
    axis.set_xlim(EDGES[0] - 0.01, EDGES[1] + 0.01)
    axis.margins(y=0.01)
    axis.set_xlabel("time / median of the row; what lies beyond is drawn at the edge")
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
