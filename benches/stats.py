# SPDX-License-Identifier: Apache-2.0
"""
What a sample of timings looks like: pure functions on the standard library. What samples prove is
in inference.py.

A sample is a sequence of finite numbers of 0 or more in any unit; NaN, infinities and negatives
raise ValueError. Results keep the unit of the sample unless said otherwise. Where a figure does
not exist the answer is None (location of nothing) or 0.0 (spread of fewer than two values).
Outliers are counted and named, never dropped.
"""

import math
from typing import NamedTuple

MAD_TO_SIGMA = 1.482602218505602  # 1 / inverse normal CDF of 0.75


class Fences(NamedTuple):
    """Tukey's classes: indices into the sample as given, in ascending order."""

    low_severe: tuple
    low_mild: tuple
    high_mild: tuple
    high_severe: tuple


class Summary(NamedTuple):
    """What a table shows of a sample."""

    n: int
    min: float
    max: float
    mean: float
    median: float
    p5: float
    p95: float
    p99: float
    stddev: float
    mad: float
    n_mild: int
    n_severe: int
    has_outliers: bool


def checked(values):
    """Returns the values as a list of floats, or raises ValueError."""
    out = [float(v) for v in values]
    for v in out:
        if not 0.0 <= v < math.inf:  # false for NaN too
            raise ValueError(f"a sample holds finite numbers of 0 or more, not {v}")
    return out


def mean(values):
    """Returns the arithmetic mean, exactly summed; None of nothing."""
    xs = checked(values)
    if not xs:
        return None
    scale = max(xs) or 1.0  # the sum of scaled values cannot overflow
    m = math.fsum(x / scale for x in xs) / len(xs) * scale
    return min(max(m, min(xs)), max(xs))


def percentile(values, p):
    """Returns percentile p (0 to 100), linear between closest ranks; None of nothing."""
    if not 0 <= p <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, not {p}")
    return _quantile(sorted(checked(values)), p / 100)


def median(values):
    """Returns the middle value, or the mean of the two middle ones; None of nothing."""
    return _median(sorted(checked(values)))


def stddev(values):
    """Returns the standard deviation with n - 1; 0.0 for fewer than two values."""
    xs = checked(values)
    if len(xs) < 2:
        return 0.0
    m = mean(xs)
    scale = max(abs(x - m) for x in xs)
    if scale == 0.0:
        return 0.0
    squares = math.fsum(((x - m) / scale) ** 2 for x in xs)
    return scale * math.sqrt(squares / (len(xs) - 1))


def mad(values):
    """Returns the median absolute deviation from the median, unscaled; 0.0 below two values."""
    xs = checked(values)
    if len(xs) < 2:
        return 0.0
    m = median(xs)
    return median([abs(x - m) for x in xs])


def fences(values):
    """
    Classifies outliers by Tukey's fences: mild beyond 1.5, severe beyond 3 interquartile ranges
    outside the quartiles.
    """
    xs = checked(values)
    if not xs:
        return Fences((), (), (), ())
    ordered = sorted(xs)
    q1, q3 = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
    iqr = q3 - q1
    edges = (q1 - 3 * iqr, q1 - 1.5 * iqr, q3 + 1.5 * iqr, q3 + 3 * iqr)
    found = ([], [], [], [])
    for i, x in enumerate(xs):
        if x < edges[0]:
            found[0].append(i)
        elif x < edges[1]:
            found[1].append(i)
        elif x > edges[3]:
            found[3].append(i)
        elif x > edges[2]:
            found[2].append(i)
    return Fences(*(tuple(f) for f in found))


def has_outliers(values):
    """Tells whether the largest value lies more than 3 standard deviations above the median."""
    xs = checked(values)
    return bool(xs) and max(xs) - median(xs) > 3 * stddev(xs)


def throughput(seconds, work=1.0):
    """Returns work per second; None if nothing was measured or no time passed."""
    if seconds is None or seconds == 0:
        return None
    return work / checked([seconds])[0]


def summary(values):
    """Returns the Summary of a sample."""
    xs = checked(values)
    ordered = sorted(xs)
    out = fences(xs)
    return Summary(
        n=len(xs),
        min=ordered[0] if xs else None,
        max=ordered[-1] if xs else None,
        mean=mean(xs),
        median=_median(ordered),
        p5=_quantile(ordered, 0.05),
        p95=_quantile(ordered, 0.95),
        p99=_quantile(ordered, 0.99),
        stddev=stddev(xs),
        mad=mad(xs),
        n_mild=len(out.low_mild) + len(out.high_mild),
        n_severe=len(out.low_severe) + len(out.high_severe),
        has_outliers=has_outliers(xs),
    )


# ------------------------------------------------------------------------------------ inner parts


def _quantile(ordered, q):
    if not ordered:
        return None
    at = q * (len(ordered) - 1)
    i = min(int(at), len(ordered) - 2) if len(ordered) > 1 else 0
    lo, hi = ordered[i], ordered[min(i + 1, len(ordered) - 1)]
    return min(max(lo + (hi - lo) * (at - i), lo), hi)


def _median(ordered):
    n = len(ordered)
    if n == 0:
        return None
    lo, hi = ordered[(n - 1) // 2], ordered[n // 2]
    return lo + (hi - lo) / 2
