# SPDX-License-Identifier: Apache-2.0
"""
Times benches: calibrate, warm up, take turns at random, repeat.

A sample is the time of `loops` operations, long enough for the timer. Benches of a batch take
turns in bursts and in random order, so that a slow moment of the machine falls on all of them.
"""

import fnmatch
import gc
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass

from benches import inference
from benches.declare import CONTROL, UsageError
from benches.result import Row

MIN_STEPS = 100  # timer steps in a sample, at least
MAX_LOOPS = 2**31 - 1  # the core counts in 32 bits
MIN_FIXED = 50  # a call itself is at most 2 % of a sample
SAMPLE_NS = 50_000  # aim of a sample: a cold start and a call cost a small share of it
BURST_NS = 10_000_000  # a turn of one bench
TREND_WINDOW = 30  # samples the warm-up looks back on
TREND_Z = -1.645  # it still gets faster: one-sided, 5 %
N_TURNS = 10  # over which samples are spread, at least
N_LEAST = 5  # samples of the slowest bench, whatever the budget
SECONDS_MOST = 10**6  # of a budget


@dataclass(frozen=True)
class Options:
    """
    How to measure.

    warmup: samples thrown away at least; more follow while they still get faster.
    samples: kept for each bench. seconds: budget of the whole measurement, None for as long as
    it takes. sample_ns: aim of one sample. slow: percent by which benches matching slow_only are
    held up, to try the gate. pin: keep to one CPU. seed: of the turns.
    Raises UsageError for numbers that make no sense.
    """

    warmup: int = 100
    samples: int = 1000
    seconds: float | None = None
    sample_ns: int = SAMPLE_NS
    slow: float = 0.0
    slow_only: str = "*"
    pin: bool = True
    seed: int = 0

    def __post_init__(self):
        for name, least, most in (("warmup", 0, 10**6), ("samples", 1, 10**6), ("slow", 0, 1000)):
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{name} is {getattr(self, name)}, not within {least} … {most}")
        if self.seconds is not None and not 0 < self.seconds <= SECONDS_MOST:
            raise UsageError(f"seconds is {self.seconds}, not above 0 and up to {SECONDS_MOST}")


QUICK = Options(warmup=10, samples=50, seconds=5.0)


def timer_step():
    """Returns the smallest step between two readings of the clock that differ, in ns."""
    clock = time.perf_counter_ns
    best = 10**9
    for _ in range(2000):
        start = clock()
        now = clock()
        while now == start:
            now = clock()
        best = min(best, now - start)
    return best


class Probe:
    """A bench that is open: its samples so far, and what they took."""

    def __init__(self, bench, options):
        self.bench = bench
        self.loops = 0
        self.n_warmup = 0
        self.samples = []
        self.spent_ns = 0
        matches = fnmatch.fnmatchcase(bench.key, options.slow_only)
        matches = matches and bench.key != CONTROL  # that stands for the machine
        self._factor = 1 + options.slow / 100 if matches else 1.0
        self._copies = [bench.make() for _ in range(bench.copies)]
        self._run = self._copies[0]

    def time_once(self):
        """Runs one sample and returns its ns."""
        clock = time.perf_counter_ns
        start = clock()
        self._run(self.loops)
        taken = clock() - start
        if self._factor > 1:
            end = start + int(taken * self._factor)
            while clock() < end:
                pass
            taken = clock() - start
        return taken

    def burst(self, n, discard=0):
        """Returns n samples of the next copy, after `discard` that are thrown away."""
        self._copies.append(self._copies.pop(0))
        self._run = self._copies[0]
        for _ in range(discard):
            self.time_once()
        return [self.time_once() for _ in range(n)]

    def calibrate(self, least_ns):
        """
        Sets loops so that a sample takes about least_ns and MIN_FIXED times what a call without
        loops costs; returns the ns of a sample.
        """
        self.loops = 0
        least_ns = max(least_ns, MIN_FIXED * min(self.burst(5)))
        self.loops = 1
        while True:
            taken = self.time_once()
            n_again = 2 if taken < 10 * least_ns else 1  # a stall is not taken for work
            taken = min(taken, *self.burst(n_again))
            if taken >= least_ns or self.loops == MAX_LOOPS:
                return taken
            grow = least_ns / max(taken, 1) * 1.05
            self.loops = min(MAX_LOOPS, max(self.loops + 1, int(self.loops * min(grow, 100))))

    def keep(self, samples):
        self.samples += samples
        self.spent_ns += sum(samples)

    def row(self):
        """Returns the Row of what was measured."""
        b = self.bench
        return Row(
            id=b.id, samples=self.samples, loops=self.loops, key=b.key, level=b.level,
            n_warmup=self.n_warmup, work=b.work, seconds_target=b.seconds_target,
            model_hash=b.model_hash, note=b.note,
        )  # fmt: skip


def measure(units, options, progress=lambda done, total, name: None, step_ns=None):
    """
    Measures units of probes until each has its samples or its share of the time.

    units: lists of probes that are sampled back to back with the same loops; one probe, or the
    same bench in two builds. progress: called with (ns done, ns planned, key) before each turn.

    Returns True, or False if Ctrl-C ended it; the samples taken by then are in the probes.
    """
    turns = random.Random(options.seed)
    step_ns = step_ns or timer_step()
    least_ns = max(MIN_STEPS * step_ns, min(options.sample_ns, 10**9))
    weights = sum(unit[0].bench.weight * len(unit) for unit in units)
    plans = []
    with quiet_python():
        try:
            for unit in units:
                progress(0, 1, unit[0].bench.key)
                plans.append(_prepare(unit, options, least_ns, weights))
            total = sum(plan.planned_ns for plan in plans)
            active = list(plans)
            while active:
                turns.shuffle(active)
                for plan in active:
                    done = sum(plan.spent_ns for plan in plans)
                    progress(done, total, plan.unit[0].bench.key)
                    plan.turn(turns)
                active = [plan for plan in active if not plan.is_done]
        except KeyboardInterrupt:
            return False
    return True


class _Plan:
    """How one unit is sampled: its turn, its end."""

    def __init__(self, unit, options, sample_ns, share_ns):
        self.unit = unit
        self.options = options
        self.share_ns = share_ns
        n = options.samples
        if share_ns is not None:
            n = max(min(n, N_LEAST), min(n, int(share_ns / max(sample_ns, 1))))
        self.n = n
        self.n_burst = max(1, min(20, n // N_TURNS, int(BURST_NS / max(sample_ns, 1))))
        self.planned_ns = n * sample_ns * len(unit)

    @property
    def spent_ns(self):
        return sum(probe.spent_ns for probe in self.unit)

    @property
    def is_done(self):
        probe = self.unit[-1]
        if len(probe.samples) >= self.n:
            return True
        late = self.share_ns is not None and probe.spent_ns > 2 * self.share_ns
        return late and len(probe.samples) >= N_LEAST

    def turn(self, turns):
        """Samples every probe of the unit once, in random order."""
        order = list(self.unit)
        turns.shuffle(order)
        n = min(self.n_burst, self.n - len(self.unit[0].samples))
        # The others have used the caches since: one sample brings this one's data back.
        discard = 1 if self.n_burst > 1 else 0
        with pinned(self.options.pin and self.unit[0].bench.threads == 1):
            taken = [probe.burst(n, discard) for probe in order]
        for probe, samples in zip(order, taken, strict=True):
            probe.keep(samples)
            probe.n_warmup += discard


def _prepare(unit, options, least_ns, weights):
    """Calibrates and warms up a unit; returns its _Plan."""
    first = unit[0]
    share_ns = None
    if options.seconds is not None:
        share_ns = options.seconds * 1e9 * first.bench.weight / weights
    with pinned(options.pin and first.bench.threads == 1):
        sample_ns = first.calibrate(least_ns)
        for probe in unit:
            probe.loops = first.loops
            limit_ns = max(share_ns / 5, 1) if share_ns is not None else 10**10
            probe.n_warmup += warm_up(probe, options.warmup, limit_ns)
    return _Plan(unit, options, sample_ns, share_ns)


def warm_up(probe, least, limit_ns):
    """
    Throws samples away until `least` of them are taken and the last ones fall no more, or until
    ten times `least` or limit_ns are used up. Returns how many.
    """
    seen = []
    start = time.perf_counter_ns()
    while least > 0:
        seen.append(probe.time_once())
        is_due = len(seen) >= least and len(seen) % 10 == 0
        if is_due and (len(seen) >= 10 * least or inference.trend(seen[-TREND_WINDOW:]) > TREND_Z):
            break
        if time.perf_counter_ns() - start > limit_ns:
            break
    return len(seen)


@contextmanager
def pinned(wanted):
    """Keeps the calling thread on the last CPU it may use, where the system lets it."""
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(allowed)})  # interrupts mostly go to the first
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def quiet_python():
    """Keeps the garbage collector from running."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
