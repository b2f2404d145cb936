# SPDX-License-Identifier: Apache-2.0
"""What a sample looks like: against NumPy, against definitions by brute force, by properties."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches import stats

# Integers below 2^40 over 1024: all sums and products with small factors are exact in a double.
number = st.integers(0, 2**40).map(lambda k: k / 1024)
sample = st.lists(number, min_size=1, max_size=60)

EDGE = {
    "one": [3.0],
    "two": [3.0, 5.0],
    "equal": [2.0] * 7,
    "even": [4.0, 1.0, 3.0, 2.0],
    "ties": [1.0, 1.0, 2.0, 2.0, 2.0, 9.0],
    "large": [2.0**63, 2.0**63 + 4096.0, 2.0**62],
}

ROUND = 1e-12  # a few dozen roundings of 2^-53 each stay far below this


def near(a, b):
    return math.isclose(a, b, rel_tol=ROUND, abs_tol=1e-300)


@pytest.mark.parametrize("xs", EDGE.values(), ids=EDGE.keys())
def test_stats_matches_numpy_on_edges(xs):
    check_against_numpy(xs)


@given(sample)
def test_stats_matches_numpy_on_random(xs):
    check_against_numpy(xs)


def check_against_numpy(xs):
    s = stats.summary(xs)
    assert (s.n, s.min, s.max) == (len(xs), min(xs), max(xs))
    assert near(s.mean, statistics.fmean(xs))
    assert s.median == np.median(xs)
    for p, got in ((5, s.p5), (95, s.p95), (99, s.p99)):
        # NumPy interpolates from the other end above one half: rounding may differ
        assert math.isclose(got, np.percentile(xs, p), rel_tol=ROUND, abs_tol=ROUND)
    spread = statistics.stdev(xs) if len(xs) > 1 else 0.0
    assert math.isclose(s.stddev, spread, rel_tol=1e-9, abs_tol=s.max * 1e-15)
    assert s.mad == (np.median(np.abs(np.array(xs) - np.median(xs))) if len(xs) > 1 else 0)


def test_stats_of_nothing_has_no_location_and_no_spread():
    s = stats.summary([])
    assert s.n == 0 and s.min is s.max is s.mean is s.median is s.p5 is None
    assert s.stddev == s.mad == 0.0 and not s.has_outliers
    assert stats.throughput(None) is None


ONE_ARGUMENT = [
    stats.mean,
    stats.median,
    stats.stddev,
    stats.mad,
    stats.fences,
    stats.has_outliers,
    stats.summary,
    lambda xs: stats.percentile(xs, 5),
]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, -0.5], ids=str)
@pytest.mark.parametrize("function", ONE_ARGUMENT, ids=range(len(ONE_ARGUMENT)))
def test_stats_refuses_nan_infinity_and_negatives(function, bad):
    with pytest.raises(ValueError):
        function([1.0, bad, 2.0])


@pytest.mark.parametrize("p", [-1, 101])
def test_percentile_refuses_ranks_outside_0_to_100(p):
    with pytest.raises(ValueError):
        stats.percentile([1.0], p)


def test_fences_separate_mild_from_severe_by_hand():
    # quartiles of 1..9 are 3 and 7, range 4: mild beyond 13 and -3, severe beyond 19 and -9
    base = [float(v) for v in range(1, 10)]
    q1, q3 = np.percentile([*base, 14.0, 40.0], [25, 75])
    found = stats.fences([*base, 14.0, 40.0])
    assert (q1, q3) == (3.5, 8.5)  # fences at 16 and 23.5
    assert found == ((), (), (), (10,))
    assert stats.fences([*base, 17.0, 40.0]).high_mild == (9,)


def test_fences_of_equal_values_name_every_deviation():
    assert stats.fences([5.0] * 8).high_severe == ()
    assert stats.fences([5.0] * 8 + [5.1]).high_severe == (8,)
    assert stats.fences([5.0] * 8 + [4.9]).low_severe == (8,)


@given(sample)
def test_fences_match_their_definition(xs):
    q1, q3 = stats.percentile(xs, 25), stats.percentile(xs, 75)
    found = stats.fences(xs)
    outside = [i for i, x in enumerate(xs) if x < q1 - 1.5 * (q3 - q1) or x > q3 + 1.5 * (q3 - q1)]
    assert sorted(itertools.chain(*found)) == outside


def test_has_outliers_follows_the_simple_rule():
    assert not stats.has_outliers([1.0, 1.0, 1.0])
    assert stats.has_outliers([1.0] * 99 + [10.0])
    assert not stats.has_outliers([1.0, 10.0])


def test_throughput_is_work_per_second():
    assert stats.throughput(0.5, 3) == 6
    assert stats.throughput(0) is None


@given(sample, st.integers(0, 2**20), st.randoms())
def test_stats_shift_and_permutation(xs, shift, random):
    moved = [x + shift for x in xs]
    random.shuffle(moved)
    a, b = stats.summary(xs), stats.summary(moved)
    assert b.median == a.median + shift and b.min == a.min + shift
    assert b.mad == a.mad
    tolerance = 1e-9 * a.stddev + (a.max + shift) * 1e-15
    assert abs(b.stddev - a.stddev) <= tolerance


@given(sample, st.integers(-10, 10))
def test_stats_scale_with_powers_of_two(xs, exponent):
    factor = 2.0**exponent
    a, b = stats.summary(xs), stats.summary([x * factor for x in xs])
    for field in ("min", "max", "median", "mad", "p5", "p95", "p99"):
        assert getattr(b, field) == getattr(a, field) * factor
    assert near(b.stddev, a.stddev * factor) or b.stddev == a.stddev * factor
    assert (a.n_mild, a.n_severe) == (b.n_mild, b.n_severe)
