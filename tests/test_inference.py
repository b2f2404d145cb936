# SPDX-License-Identifier: Apache-2.0
"""What samples prove: against SciPy, against definitions by brute force, and by properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benches import inference

# Integers below 2^40 over 1024: all sums and products with small factors are exact in a double.
number = st.integers(0, 2**40).map(lambda k: k / 1024)
sample = st.lists(number, min_size=1, max_size=60)
tied = st.lists(st.integers(1, 6).map(float), min_size=1, max_size=40)


def test_nothing_proves_nothing():
    assert inference.median_interval([]) is None and inference.ratio([], [1.0]) is None
    assert inference.mann_whitney([], [1.0]) == (0.0, 1.0)
    assert inference.trend([]) == 0.0


ONE_ARGUMENT = [
    inference.median_interval,
    inference.trend,
    lambda xs: inference.mann_whitney(xs, [1.0]),
    lambda xs: inference.ratio([1.0], xs),
]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, -0.5], ids=str)
@pytest.mark.parametrize("function", ONE_ARGUMENT, ids=range(len(ONE_ARGUMENT)))
def test_what_is_no_sample_is_refused(function, bad):
    with pytest.raises(ValueError):
        function([1.0, bad, 2.0])


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 10, 11, 30, 101, 1000])
def test_median_interval_covers_what_it_says(n):
    interval = inference.median_interval([float(v) for v in range(1, n + 1)])
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
    u, p = inference.mann_whitney(a, b)
    assert u == expected.statistic and math.isclose(p, expected.pvalue, rel_tol=1e-9)


@settings(max_examples=60)
@given(tied, tied)
def test_mann_whitney_with_ties_matches_scipy(a, b):
    u, p = inference.mann_whitney(a, b)
    if len(set(a + b)) == 1:
        assert p == 1.0
    elif len(set(a + b)) < len(a + b):
        expected = scipy_stats.mannwhitneyu(a, b, method="asymptotic")
        assert u == expected.statistic and math.isclose(p, expected.pvalue, rel_tol=1e-9)


def test_mann_whitney_large_matches_scipy():
    random = np.random.default_rng(1)
    a, b = random.lognormal(size=300), random.lognormal(0.1, size=200)
    expected = scipy_stats.mannwhitneyu(a, b, method="asymptotic")
    u, p = inference.mann_whitney(a, b)
    assert u == expected.statistic and math.isclose(p, expected.pvalue, rel_tol=1e-9)


@settings(max_examples=60)
@given(
    st.lists(number.map(lambda x: x + 1), min_size=1, max_size=25),
    st.lists(number.map(lambda x: x + 1), min_size=1, max_size=25),
)
def test_ratio_is_the_median_of_all_pairs(base, current):
    pairs = sorted(y / x for x in base for y in current)
    got = inference.ratio(base, current)
    assert math.isclose(got.point, np.median(pairs), rel_tol=1e-15)
    assert got.lo in pairs and got.hi in pairs and got.lo <= got.point <= got.hi


def test_ratio_interval_holds_its_level():
    random = np.random.default_rng(2)
    for n in (8, 40):
        hits = 0
        for _ in range(400):
            a = random.lognormal(0, 0.2, n)
            b = random.lognormal(math.log(1.1), 0.2, n)
            got = inference.ratio(a, b)
            hits += got.lo <= 1.1 <= got.hi
        # 400 trials at 95 %: standard deviation 4.4, so five of them below 380
        assert hits >= 358


def test_ratio_of_single_values_claims_no_coverage():
    got = inference.ratio([2.0], [3.0])
    assert got == (1.5, 1.5, 1.5, 0.0)


def test_ratio_refuses_zero():
    with pytest.raises(ValueError):
        inference.ratio([0.0, 1.0], [1.0])


@given(sample)
def test_trend_sign_follows_order(xs):
    up, down = inference.trend(sorted(xs)), inference.trend(sorted(xs, reverse=True))
    assert up == -down and up >= 0


def test_trend_matches_kendall_on_a_known_series():
    xs = [9.0, 8.0, 8.5, 7.0, 6.0, 6.5, 5.0, 4.0]
    # 28 pairs, of which two (8, 8.5) and (6, 6.5) rise: s = 2 - 26 = -24; variance 8*7*21/18
    assert inference.trend(xs) == pytest.approx(-23 / math.sqrt(8 * 7 * 21 / 18), rel=1e-12)


@pytest.mark.parametrize(("k", "n"), [(0, 300), (1, 300), (5, 50), (7, 7)])
def test_binomial_upper_matches_scipy(k, n):
    expected = 1.0 if k == n else scipy_stats.beta.ppf(0.95, k + 1, n - k)
    assert math.isclose(inference.binomial_upper(k, n), expected, rel_tol=1e-9)
