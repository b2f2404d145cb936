# SPDX-License-Identifier: Apache-2.0
"""
What samples of timings prove: intervals and tests, pure functions on the standard library.

Samples are those of stats.py, with the same ValueError for what is no sample.
"""

import math
import struct
from collections import Counter
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from benches import stats

EXACT_U_MAX = 20  # Mann-Whitney counts arrangements up to this size of a side


class Interval(NamedTuple):
    """lo <= point <= hi; coverage is the probability the order statistics really give."""

    lo: float
    point: float
    hi: float
    coverage: float


def median_interval(values, level=0.95):
    """
    Returns an Interval for the median from order statistics, whatever the distribution.

    The narrowest symmetric pair of ranks that covers level is taken; below about six values none
    does, and the whole range is given with the coverage it has. None of nothing.
    """
    ordered = sorted(stats.checked(values))
    n = len(ordered)
    if n == 0:
        return None
    # P(fewer than k of n values lie below the median) for a symmetric pair of ranks k, n + 1 - k
    below = 0.0
    k = 0
    while k < (n + 1) // 2:
        term = math.exp(_log_choose(n, k) - n * math.log(2))
        if k > 0 and 2 * (below + term) > 1 - level:
            break
        below += term
        k += 1
    # with one value the pair of ranks meets: nothing is covered
    coverage = max(0.0, 1 - 2 * below)
    return Interval(ordered[k - 1], stats.median(ordered), ordered[n - k], coverage)


def mann_whitney(a, b):
    """
    Compares two samples by ranks.

    Returns (u, p): u counts the pairs in which a is larger (ties half), p is the two-sided
    probability of a u this far out if both came from one distribution. Exact without ties up to
    EXACT_U_MAX values a side, else the normal approximation with tie and continuity correction.
    p is 1.0 where a side is empty or all values are equal.
    """
    xs, ys = stats.checked(a), stats.checked(b)
    n, m = len(xs), len(ys)
    if n == 0 or m == 0:
        return 0.0, 1.0
    u, ties = _u_statistic(xs, ys)
    if not ties and n <= EXACT_U_MAX and m <= EXACT_U_MAX:
        counts = _arrangements(n, m)
        tail = sum(counts[: int(min(u, n * m - u)) + 1])
        return u, min(1.0, 2 * tail / math.comb(n + m, n))
    total = n + m
    tie_term = sum(t**3 - t for t in ties) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - tie_term)
    if variance <= 0:
        return u, 1.0
    z = (abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return u, min(1.0, math.erfc(z / math.sqrt(2)))


def ratio(base, current, level=0.95):
    """
    Returns the Hodges-Lehmann Interval of current / base: the median of all pairwise ratios, and
    the pairwise ratios at the ranks that the Mann-Whitney test cannot reject at 1 - level.

    Every value must be above 0. None where a side is empty. Time n log n, memory n.
    """
    xs, ys = sorted(stats.checked(base)), sorted(stats.checked(current))
    if not xs or not ys:
        return None
    if xs[0] <= 0 or ys[0] <= 0:
        raise ValueError("a ratio needs values above 0")
    n, m = len(xs), len(ys)
    rank, coverage = _ratio_rank(n, m, level)
    pairs = n * m
    lo = _pair_ratio(xs, ys, rank)
    hi = _pair_ratio(xs, ys, pairs + 1 - rank)
    middle = _pair_ratio(xs, ys, (pairs + 1) // 2)
    if pairs % 2 == 0:
        middle += (_pair_ratio(xs, ys, pairs // 2 + 1) - middle) / 2
    return Interval(lo, middle, hi, coverage)


def trend(values):
    """
    Returns the Mann-Kendall z of a sequence in time: below 0 it falls, above 0 it rises. Within
    about 1.6 of 0 no trend is seen. 0.0 for fewer than three values or all equal.
    """
    xs = stats.checked(values)
    n = len(xs)
    if n < 3:
        return 0.0
    s = sum((xs[j] > xs[i]) - (xs[j] < xs[i]) for i in range(n) for j in range(i + 1, n))
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(xs).values())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if s == 0 or variance <= 0:
        return 0.0
    return (s - math.copysign(1, s)) / math.sqrt(variance)


def binomial_upper(k, n, level=0.95):
    """Returns the one-sided Clopper-Pearson upper bound of a rate seen k times in n."""
    if not 0 <= k <= n:
        raise ValueError("k events in n trials need 0 <= k <= n")
    if k == n:
        return 1.0
    lo, hi = k / n, 1.0
    for _ in range(60):
        p = (lo + hi) / 2
        terms = (
            math.exp(_log_choose(n, i) + i * math.log(p) + (n - i) * math.log1p(-p))
            for i in range(k + 1)
        )
        lo, hi = (p, hi) if math.fsum(terms) > 1 - level else (lo, p)
    return hi


# ------------------------------------------------------------------------------------ inner parts


def _log_choose(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _u_statistic(xs, ys):
    """Returns u of xs over ys and the sizes of the groups of equal values (2 and more)."""
    counts = Counter(xs + ys)
    ranks, before = {}, 0
    for value in sorted(counts):
        ranks[value] = before + (counts[value] + 1) / 2
        before += counts[value]
    rank_sum = math.fsum(ranks[x] for x in xs)
    ties = [n for n in counts.values() if n > 1]
    return rank_sum - len(xs) * (len(xs) + 1) / 2, ties


@lru_cache(maxsize=64)
def _arrangements(n, m):
    """Returns how many orderings of n and m distinct values give each u from 0 to n * m."""
    # Gaussian binomial coefficient, one factor (1 - q^(m+i)) / (1 - q^i) at a time
    counts = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    return counts


def _ratio_rank(n, m, level):
    """Returns the lower rank (from 1) of the pairwise ratios and the coverage it gives."""
    pairs = n * m
    if n <= EXACT_U_MAX and m <= EXACT_U_MAX:
        counts = _arrangements(n, m)
        total = math.comb(n + m, n)
        tail = counts[0]  # P(u < rank) for rank 1
        rank = 1
        while rank < (pairs + 1) // 2 and 2 * (tail + counts[rank]) <= (1 - level) * total:
            tail += counts[rank]
            rank += 1
        return rank, max(0.0, 1 - 2 * tail / total)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    spread = z * math.sqrt(pairs * (n + m + 1) / 12)
    return max(1, math.floor(pairs / 2 - spread)), level


def _pair_ratio(xs, ys, rank):
    """Returns the rank-th smallest (from 1) of all y / x, both lists ascending and positive."""

    def at_most(limit):
        # as x grows, more of ys pass: one sweep over both lists counts the pairs
        count = j = 0
        for x in xs:
            while j < len(ys) and ys[j] / x <= limit:
                j += 1
            count += j
        return count

    # positive floats order as their bits do: a bisection over bits ends at the exact value
    lo, hi = _bits(ys[0] / xs[-1]), _bits(ys[-1] / xs[0])
    while lo < hi:
        mid = (lo + hi) // 2
        if at_most(_from_bits(mid)) >= rank:
            hi = mid
        else:
            lo = mid + 1
    return _from_bits(lo)


def _bits(x):
    return struct.unpack("<q", struct.pack("<d", x))[0]


def _from_bits(n):
    return struct.unpack("<d", struct.pack("<q", n))[0]
