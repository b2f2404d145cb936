# SPDX-License-Identifier: Apache-2.0
"""The suite from Python: what it measures, what its judgement is, what it refuses."""

import pytest

from benches import BenchmarkConfig, api


def test_python_interface_measures_and_judges(capsys):
    config = BenchmarkConfig(warmup_iterations=2, measurement_iterations=20)
    found = api.bench_arena(config)
    assert found.iterations == 20
    assert 0 < found.min <= found.median <= found.max and found.stddev >= 0
    assert found.throughput == 1 / found.median and found.has_outliers() in (True, False)
    results = api.run_benchmark_suite(config, only=("arena", "dot"))
    results.print_summary()
    assert "dot/f32/384" in capsys.readouterr().out
    assert set(results) == {"arena/1024", "dot/f32/384"}


@pytest.mark.parametrize(("factor", "threshold", "expected"),
                         [(1.0, 1.1, False), (1.08, 1.1, False), (1.12, 1.1, True),
                          (1.12, 1.2, False), (0.5, 1.1, False)])  # fmt: skip
def test_check_regression_by_threshold(factor, threshold, expected):
    base = [1e-6 * (1 + 0.001 * (i % 7)) for i in range(40)]
    a = api.BenchmarkStats(base)
    b = api.BenchmarkStats([factor * v for v in base])
    assert api.check_regression(a, b, threshold) is expected


def test_check_regression_needs_samples():
    a, b = api.BenchmarkStats([1e-6] * 5), api.BenchmarkStats([2e-6] * 5)
    assert api.check_regression(a, b) is False


@pytest.mark.parametrize("fields", [{"warmup_iterations": -1}, {"measurement_iterations": 0},
                                    {"measurement_iterations": 1.5},
                                    {"seconds": float("nan")}], ids=str)  # fmt: skip
def test_config_refuses_numbers_without_sense(fields):
    with pytest.raises(ValueError):
        BenchmarkConfig(**fields)
