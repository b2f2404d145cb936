# SPDX-License-Identifier: Apache-2.0
"""
The suite from Python.

    from benches.api import BenchmarkConfig, run_benchmark_suite, check_regression

    results = run_benchmark_suite(BenchmarkConfig(measurement_iterations=200))
    results.print_summary()
    print(results["dot/f32/384"].median)
"""

import sys
from dataclasses import dataclass, replace

from benches import inference, session, stats, table
from benches.declare import Selection, collect
from benches.gate import N_LEAST, THRESHOLD, is_slower
from benches.run import Options


@dataclass(frozen=True)
class BenchmarkConfig:
    """
    How to measure.

    warmup_iterations: samples thrown away at least. measurement_iterations: samples kept of each
    row. use_simd: the best code of this CPU; the portable code without. verbose: tell on standard
    error what runs. seconds: budget, None for as long as it takes.
    Raises ValueError for numbers that make no sense.
    """

    warmup_iterations: int = 100
    measurement_iterations: int = 1000
    use_simd: bool = True
    verbose: bool = False
    seconds: float | None = None

    def __post_init__(self):
        for name, least in (("warmup_iterations", 0), ("measurement_iterations", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}, must be a whole number of {least} or more")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds is {self.seconds!r}, must be above 0")

    @property
    def options(self):
        return Options(warmup=self.warmup_iterations, samples=self.measurement_iterations,
                       seconds=self.seconds)  # fmt: skip


class BenchmarkStats:
    """
    The statistics of one row. Times are seconds for an operation.

    values: the samples, in the order taken. work: items an operation does, for `throughput`.
    """

    def __init__(self, values, name="", work=1.0):
        self.values = tuple(stats.checked(values))
        self.name = name
        self.work = work
        self._summary = stats.summary(self.values)

    min = property(lambda self: self._summary.min)
    max = property(lambda self: self._summary.max)
    mean = property(lambda self: self._summary.mean)
    median = property(lambda self: self._summary.median)
    stddev = property(lambda self: self._summary.stddev)
    iterations = property(lambda self: self._summary.n)
    summary = property(lambda self: self._summary)

    @property
    def throughput(self):
        """Items per second at the median; None if nothing was measured."""
        return stats.throughput(self.median, self.work)

    def has_outliers(self):
        """Tells whether the maximum lies more than 3 standard deviations above the median."""
        return self._summary.has_outliers

    def __repr__(self):
        return (
            f"BenchmarkStats({self.name!r}, median={table.quantity(self.median)}, "
            f"min={table.quantity(self.min)}, iterations={self.iterations})"
        )


class BenchmarkResults:
    """The rows of a suite by key ("dot/f32/384"): iterable, indexable; `run` for files."""

    def __init__(self, report):
        self.report = report
        self.run = report.run
        self._stats = {line.key: _stats_of(line.best) for line in table.lines(report.run)}

    def __getitem__(self, key):
        return self._stats[key]

    def __iter__(self):
        return iter(self._stats)

    def __len__(self):
        return len(self._stats)

    def items(self):
        return self._stats.items()

    def print_summary(self, file=None):
        """Prints the table."""
        for text, _ in table.render(self.report):
            (file or sys.stdout).write(text + "\n")


def run_benchmark_suite(config=None, only=()):
    """
    Measures the suite, or the rows whose keys match `only`; returns BenchmarkResults.

    Ctrl-C keeps what was measured.
    """
    config = config or BenchmarkConfig()
    selection = Selection(simd=config.use_simd, only=tuple(only))
    benches, skipped = collect(selection)
    show = _tell if config.verbose else lambda done, total, key: None
    report = session.take(benches, selection, config.options, skipped, show, count=False)
    return BenchmarkResults(report)


def bench_tokenization(config=None):
    """Encodes 100 characters; throughput in characters per second."""
    return _one("tokenize/100", config)


def bench_dequantization(config=None):
    """Dequantises a Q4_0 block of 32; throughput in blocks per second."""
    return _one("dequantize/q4_0/1x32", config)


def bench_dot_product(config=None):
    """Inner product of 384 floats."""
    return _one("dot/f32/384", config)


def bench_matvec(config=None, dtype="f32"):
    """Matrix 384 x 384 times vector; dtype of the weights: "f32", "f16", "q8_0", "q4_0"."""
    return _one(f"matvec/{dtype}/384x384", config)


def bench_layernorm(config=None):
    """Layer norm over 384 floats."""
    return _one("layernorm/384", config)


def bench_kv_cache(config=None):
    """Reads a position of one layer of the KV cache."""
    return _one("kv/read/6x256x384", config)


def bench_arena(config=None):
    """Takes 1 KB from the arena and gives it back."""
    return _one("arena/1024", config)


def bench_attention(config=None):
    """One head over 256 positions."""
    return _one("attention/f16/256x64", config)


def bench_generation(config=None, size="nano", dtype="q4_0"):
    """One token through a seeded model; throughput in tokens per second."""
    config = config or BenchmarkConfig()
    if config.seconds is None:
        config = replace(config, seconds=10.0)
    return _one(f"generate/{size}/{dtype}", config)


def check_regression(baseline, current, threshold=THRESHOLD):
    """
    Tells whether current is slower than baseline by more than threshold (1.1: 10 %) and 0.6 ns:
    in min and median, and beyond what chance explains.

    baseline, current: BenchmarkStats, which gives a bool; or BenchmarkResults, which gives the
    list of keys that regressed. Fewer than 10 samples a side are never called a regression.
    """
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}, must be above 0")
    if isinstance(baseline, BenchmarkResults):
        return [key for key, old in baseline.items()
                if key in current and check_regression(old, current[key], threshold)]  # fmt: skip
    if min(baseline.iterations, current.iterations) < N_LEAST or baseline.min == 0:
        return False
    return (is_slower(baseline.values, current.values, threshold)
            and inference.ratio(baseline.values, current.values).lo > 1)  # fmt: skip


def _one(key, config):
    results = run_benchmark_suite(config, only=(key,))
    if key not in results:
        why = [s.reason for s in results.report.skipped] or ["it was interrupted"]
        raise RuntimeError(f"{key} was not measured: {why[0]}")
    return results[key]


def _stats_of(row):
    return BenchmarkStats(row.values, row.id, row.work.get("item", 1.0))


def _tell(done, total, key):
    sys.stderr.write(f"{100 * done / total:3.0f} % {key}\n")
