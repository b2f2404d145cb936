# SPDX-License-Identifier: Apache-2.0
"""Statistics against NumPy and SciPy, against definitions by brute force, and by properties."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benches import stats

scipy_stats = pytest.importorskip("scipy.stats")

# Integers below 2^40 over 1024: all sums and products with small factors are exact in a double.
number = st.integers(0, 2**40).map(lambda k: k / 1024)
sample = st.lists(number, min_size=1, max_size=60)
tied = st.lists(st.integers(1, 6).map(float), min_size=1, max_size=40)

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
    assert stats.median_interval([]) is None and stats.ratio([], [1.0]) is None
    assert stats.mann_whitney([], [1.0]) == (0.0, 1.0)
    assert stats.modified_z([]) == [] and stats.trend([]) == 0.0
    assert stats.throughput(None) is None


ONE_ARGUMENT = [
    stats.mean,
    stats.median,
    stats.stddev,
    stats.mad,
    stats.fences,
    stats.modified_z,
    stats.has_outliers,
    stats.summary,
    stats.median_interval,
    stats.trend,
    lambda xs: stats.percentile(xs, 5),
    lambda xs: stats.mann_whitney(xs, [1.0]),
    lambda xs: stats.ratio([1.0], xs),
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


def test_modified_z_by_hand():
    # median 3, absolute deviations 2 1 0 1 97: MAD 1
    z = stats.modified_z([1.0, 2.0, 3.0, 4.0, 100.0])
    assert near(z[4], 97 / 1.482602218505602) and z[2] == 0.0
    assert stats.modified_z([4.0] * 5) == [0.0] * 5
    # MAD 0: mean absolute deviation is 1/5 of 5
    z = stats.modified_z([4.0, 4.0, 4.0, 4.0, 9.0])
    assert near(z[4], 5 / math.sqrt(math.pi / 2))


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


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 10, 11, 30, 101, 1000])
def test_median_interval_covers_what_it_says(n):
    interval = stats.median_interval([float(v) for v in range(1, n + 1)])
    k = int(interval.lo)
    assert interval.hi == n + 1 - k
    exact = 1 - 2 * scipy_stats.binom.cdf(k - 1, n, 0.5)
    assert math.isclose(interval.coverage, max(exact, 0), abs_tol=1e-9)
    narrower = 1 - 2 * scipy_stats.binom.cdf(k, n, 0.5)
    assert n < 6 or interval.coverage >= 0.95 > narrower


@settings(max_examples=60)
@given(
    st.lists(number, min_size=1, max_size=12, unique=True),
    st.lists(number, min_size=1, max_size=12, unique=True),
)
def test_mann_whitney_exact_matches_scipy(a, b):
    if set(a) & set(b):
        return
    expected = scipy_stats.mannwhitneyu(a, b, method="exact")
    u, p = stats.mann_whitney(a, b)
    assert u == expected.statistic and math.isclose(p, expected.pvalue, rel_tol=1e-9)


@settings(max_examples=60)
@given(tied, tied)
def test_mann_whitney_with_ties_matches_scipy(a, b):
    u, p = stats.mann_whitney(a, b)
    if len(set(a + b)) == 1:
        assert p == 1.0
    elif len(set(a + b)) < len(a + b):
        expected = scipy_stats.mannwhitneyu(a, b, method="asymptotic")
        assert u == expected.statistic and math.isclose(p, expected.pvalue, rel_tol=1e-9)


def test_mann_whitney_large_matches_scipy():
    random = np.random.default_rng(1)
    a, b = random.lognormal(size=300), random.lognormal(0.1, size=200)
    expected = scipy_stats.mannwhitneyu(a, b, method="asymptotic")
    u, p = stats.mann_whitney(a, b)
    assert u == expected.statistic and math.isclose(p, expected.pvalue, rel_tol=1e-9)


@settings(max_examples=60)
@given(
    st.lists(number.map(lambda x: x + 1), min_size=1, max_size=25),
    st.lists(number.map(lambda x: x + 1), min_size=1, max_size=25),
)
def test_ratio_is_the_median_of_all_pairs(base, current):
    pairs = sorted(y / x for x in base for y in current)
    got = stats.ratio(base, current)
    assert math.isclose(got.point, np.median(pairs), rel_tol=1e-15)
    assert got.lo in pairs and got.hi in pairs and got.lo <= got.point <= got.hi


def test_ratio_interval_holds_its_level():
    random = np.random.default_rng(2)
    for n in (8, 40):
        hits = 0
        for _ in range(400):
            a = random.lognormal(0, 0.2, n)
            b = random.lognormal(math.log(1.1), 0.2, n)
            got = stats.ratio(a, b)
            hits += got.lo <= 1.1 <= got.hi
        # 400 trials at 95 %: standard deviation 4.4, so five of them below 380
        assert hits >= 358


def test_ratio_of_single_values_claims_no_coverage():
    got = stats.ratio([2.0], [3.0])
    assert got == (1.5, 1.5, 1.5, 0.0)


def test_ratio_refuses_zero():
    with pytest.raises(ValueError):
        stats.ratio([0.0, 1.0], [1.0])


@given(sample)
def test_trend_sign_follows_order(xs):
    up, down = stats.trend(sorted(xs)), stats.trend(sorted(xs, reverse=True))
    assert up == -down and up >= 0


def test_trend_matches_kendall_on_a_known_series():
    xs = [9.0, 8.0, 8.5, 7.0, 6.0, 6.5, 5.0, 4.0]
    # 28 pairs, of which two (8, 8.5) and (6, 6.5) rise: s = 2 - 26 = -24; variance 8*7*21/18
    assert near(stats.trend(xs), -23 / math.sqrt(8 * 7 * 21 / 18))


@pytest.mark.parametrize(("k", "n"), [(0, 300), (1, 300), (5, 50), (7, 7)])
def test_binomial_upper_matches_scipy(k, n):
    expected = 1.0 if k == n else scipy_stats.beta.ppf(0.95, k + 1, n - k)
    assert math.isclose(stats.binomial_upper(k, n), expected, rel_tol=1e-9)
