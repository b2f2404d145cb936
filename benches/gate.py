# SPDX-License-Identifier: Apache-2.0
"""
Judges one run against another: which rows got slower, which only look so, which cannot be told.

A row of samples regresses if its min and its median are both more than THRESHOLD and
SECONDS_LEAST slower, the interval of the ratio lies above 1, and a second measurement says the
same. A row of exact counts of bytes regresses if it grows at all. docs/benchmarking.md has the
reasons and the error rates.
"""

from dataclasses import dataclass

from benches import inference, stats
from benches.declare import CONTROL, NOT_OURS
from benches.result import baseline_of, differing

PASS, REGRESSION, USAGE, INCONCLUSIVE, NOT_COMPARABLE = range(5)  # exit statuses

THRESHOLD = 1.10
SECONDS_LEAST = 0.6e-9  # two cycles: an unchanged loop of a dozen takes one more in some runs
SOFT = 1.01  # exact instruction counts: worth a word, no failure
N_LEAST = 10  # samples a side below which nothing is said
TOO_FEW = f"fewer than {N_LEAST} samples"
CONTROL_DRIFT = 1.05  # the machine itself may differ by this much
LEVEL = 0.95

# verdicts of a row
SAME, FASTER, SLOWER, UNSURE, NEW, GONE = "same", "faster", "slower", "unsure", "new", "gone"


@dataclass(frozen=True)
class Verdict:
    """
    What is said of a row: verdict, and the figures it rests on.

    ratios are current / base, above 1 is slower; interval an inference.Interval; p of
    Mann-Whitney.
    """

    id: str
    verdict: str
    ratio_min: float | None = None
    ratio_median: float | None = None
    interval: object = None
    p: float | None = None
    why: str = ""

    @property
    def is_significant(self):
        return self.p is not None and self.p < 1 - LEVEL


def judge(base, current, threshold=THRESHOLD):
    """Returns the Verdict on two rows of the same id."""
    if base.unit != current.unit:
        return Verdict(current.id, UNSURE, why=f"{base.unit} against {current.unit}")
    if base.model_hash != current.model_hash:
        return Verdict(current.id, UNSURE, why="another model")
    if not base.samples or not current.samples:
        return Verdict(current.id, UNSURE, why="no samples")
    if base.unit != "second":
        return _judge_exact(base, current, threshold)
    xs, ys = base.values, current.values
    if min(xs) <= 0 or min(ys) <= 0:
        return Verdict(current.id, UNSURE, why="a sample of no time at all")
    ratio_min = min(ys) / min(xs)
    median_then, median_now = stats.median(xs), stats.median(ys)
    ratio_median = median_now / median_then
    interval = inference.ratio(xs, ys, LEVEL)
    _, p = inference.mann_whitney(xs, ys)
    verdict, why = SAME, ""
    if min(len(xs), len(ys)) < N_LEAST:
        verdict, why = UNSURE, TOO_FEW
    elif is_slower(xs, ys, threshold) and interval.lo > 1:
        verdict = SLOWER
    elif is_slower(ys, xs, threshold) and interval.hi < 1:
        verdict = FASTER
    elif max(abs(min(ys) - min(xs)), abs(median_now - median_then)) <= SECONDS_LEAST:
        why = f"by less than {SECONDS_LEAST * 1e9:g} ns" if ratio_median > threshold else ""
    elif interval.hi > threshold and interval.lo < threshold:
        verdict, why = UNSURE, "too noisy to exclude a slow-down"
    elif interval.lo >= threshold:
        verdict, why = UNSURE, "the median is slower, the fastest sample is not"
    return Verdict(current.id, verdict, ratio_min, ratio_median, interval, p, why)


def is_slower(base, current, threshold=THRESHOLD):
    """Tells whether min and median of the seconds in current are beyond those of base."""
    figures = ((min(base), min(current)), (stats.median(base), stats.median(current)))
    return all(b > a * threshold and b - a > SECONDS_LEAST for a, b in figures)


def _judge_exact(base, current, threshold):
    """Counts are exact: the smallest of each side is compared; bytes may not grow at all."""
    a, b = min(base.values), min(current.values)
    if a == b:
        return Verdict(current.id, SAME, 1.0, 1.0)
    ratio = b / a if a else float("inf")
    limit = 1.0 if base.unit == "byte" else threshold
    verdict = SLOWER if ratio > limit else FASTER if ratio < 1 / limit else SAME
    why = f"{a:g} to {b:g} {base.unit}s" if verdict == SLOWER or ratio > SOFT else ""
    return Verdict(current.id, verdict, ratio, ratio, why=why)


def compare(base, current, threshold=THRESHOLD):
    """Returns the Verdicts on all rows of two runs, in the order of current; gone rows last."""
    old = {row.id: row for row in base.rows}
    out = []
    for row in current.rows:
        if row.id in old:
            out.append(judge(old[row.id], row, threshold))
        else:
            out.append(Verdict(row.id, NEW))
    seen = {row.id for row in current.rows}
    return out + [Verdict(row.id, GONE) for row in base.rows if row.id not in seen]


def machine_drift(base, current):
    """
    Returns how much slower the machine itself is now, from work that is not ours: the larger of
    the ratios of min and median if both exceed CONTROL_DRIFT either way, else None.
    """
    a, b = base.row(CONTROL), current.row(CONTROL)
    if a is None or b is None or not a.samples or not b.samples:
        return None
    ratios = min(b.values) / min(a.values), b.summary.median / a.summary.median
    if min(ratios) > CONTROL_DRIFT or max(ratios) < 1 / CONTROL_DRIFT:
        return max(ratios)
    return None


@dataclass(frozen=True)
class Gate:
    """The outcome: exit status, one line that says why, and the verdicts."""

    status: int
    line: str
    verdicts: tuple = ()


def gate(runs, current, measure_again, threshold=THRESHOLD, judged=None):
    """
    Judges a run against the run of the same machine among `runs`.

    measure_again(ids): returns (base, run), measured once more for those rows; base may be the
    stored one. judged: ids that count, None for all. Returns a Gate.
    """
    if current.clock == "emulated":
        return Gate(NOT_COMPARABLE, "not comparable: wall clock under emulation is never gated")
    if current.conditions.get("throttled"):
        return Gate(INCONCLUSIVE, "inconclusive: the CPU was throttled; let it cool down")
    base, fields = baseline_of(runs, current)
    if base is None:
        advice = "record one of this machine with --record, or use --against REF"
        return Gate(NOT_COMPARABLE, f"{why_not(fields)}; {advice}")
    verdicts = compare(base, current, threshold)
    doubtful = [v.id for v in verdicts if v.verdict in (SLOWER, UNSURE) and _counts(v.id, judged)]
    again = {}
    second = current
    if doubtful and not _all_exact(current, doubtful):
        base, second = measure_again(doubtful)
        again = {v.id: v for v in compare(base, second, threshold)}
    final = tuple(_settle(v, again.get(v.id)) if v.id in doubtful else v for v in verdicts)
    return _outcome(base, second, final, judged, threshold)


def why_not(fields):
    """Returns the line that says why a baseline serves a run not, by the fields that differ."""
    what = f"no run that agrees in {', '.join(fields)}" if fields else "no run"
    return f"not comparable: the baseline holds {what}"


def _all_exact(run, ids):
    return all(run.row(i) is None or run.row(i).unit != "second" for i in ids)


def _counts(row_id, judged):
    if row_id.startswith(NOT_OURS):
        return False
    return judged is None or row_id in judged


def _settle(first, second):
    """Returns what two measurements of a row say together."""
    if second is None or second.verdict == GONE:
        return first
    if first.verdict == SLOWER and second.verdict != SLOWER:
        return Verdict(first.id, SAME, second.ratio_min, second.ratio_median, second.interval,
                       second.p, "slower once, not when measured again")  # fmt: skip
    if first.verdict == UNSURE and second.verdict == SLOWER:
        return Verdict(first.id, UNSURE, second.ratio_min, second.ratio_median, second.interval,
                       second.p, "slower once, unclear once")  # fmt: skip
    return second


def _outcome(base, current, verdicts, judged, threshold):
    percent = round((threshold - 1) * 100)
    slower = [v for v in verdicts if v.verdict == SLOWER and _counts(v.id, judged)]
    unsure = [v for v in verdicts if v.verdict == UNSURE and _counts(v.id, judged)]
    drift = machine_drift(base, current)
    exact = [v for v in slower if v.interval is None]
    if slower and drift is not None and not exact:
        return Gate(
            INCONCLUSIVE,
            f"inconclusive: work that is not ours takes {drift:.2f} times the baseline's time, so "
            "the machine changed; use --against REF, or close other programs and repeat",
            verdicts,
        )
    if slower:
        names = ", ".join(v.id for v in slower[:4]) + (" …" if len(slower) > 4 else "")
        larger = ", or larger" if exact else ""  # of what is counted, bytes may not grow at all
        return Gate(REGRESSION, f"regression: {len(slower)} of {len(verdicts)} rows are more "
                    f"than {percent} % slower{larger}: {names}", verdicts)  # fmt: skip
    if unsure:
        advice = "take more (--samples, --seconds)" if unsure[0].why == TOO_FEW else (
            "close other programs and repeat, or use --against REF")  # fmt: skip
        return Gate(
            INCONCLUSIVE,
            f"inconclusive: {len(unsure)} of {len(verdicts)} rows cannot be told "
            f"({unsure[0].id}: {unsure[0].why}); {advice}",
            verdicts,
        )
    if not any(v.verdict in (SAME, FASTER) for v in verdicts):
        return Gate(NOT_COMPARABLE, "not comparable: no row is in both", verdicts)
    return Gate(PASS, f"pass: no row is more than {percent} % slower", verdicts)


def lines(verdicts):
    """Yields the comparison as text, at most 100 columns."""
    verdicts = list(verdicts)
    if not verdicts:
        return
    heads = ("benchmark", "min", "median", "ratio, 95 % interval", "p")
    yield "{:40} {:>6} {:>7} {:>22} {:>8}  verdict".format(*heads)
    for v in verdicts:
        if v.ratio_median is None:
            yield f"{v.id[:40]:40} {'':45} {v.verdict}  {v.why}".rstrip()[:100]
            continue
        between = ""
        if v.interval is not None:
            between = f"{v.interval.point:.3f} [{v.interval.lo:.3f} {v.interval.hi:.3f}]"
        p = "" if v.p is None else f"{v.p:8.1g}"
        star = "*" if v.is_significant else " "
        yield (
            f"{v.id[:40]:40} {v.ratio_min:6.3f} {v.ratio_median:7.3f} {between:>22} {p:>8}{star} "
            f"{v.verdict}"
        )
        if v.why:
            yield f"    {v.why}"[:100]


def check_comparable(a, b):
    """Returns None, or the line that says why two runs may not be compared."""
    fields = differing(a, b)
    if not fields:
        return None
    told = "; ".join(f"{f}: {a.fingerprint.get(f)} and {b.fingerprint.get(f)}" for f in fields)
    return f"not comparable: {told}"
