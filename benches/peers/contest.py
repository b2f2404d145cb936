# SPDX-License-Identifier: Apache-2.0
"""One piece of work done by several, sample beside sample in random order, and who won."""

import subprocess
import time
from dataclasses import dataclass, field, replace

from benches import inference, stats, table
from benches.declare import Bench
from benches.remote import BuildError, RemoteProbe
from benches.run import Options, Probe, measure

_AS_IS = Options()  # a probe by itself is neither slowed nor limited


@dataclass(frozen=True)
class Target:
    """What a ratio should be: at least `value`, or at most."""

    value: float
    is_most: bool = False

    def __str__(self):
        return f"{'≤' if self.is_most else '≥'} {self.value:g}"

    def is_met(self, ratio):
        return ratio <= self.value if self.is_most else ratio >= self.value


@dataclass(frozen=True)
class Contest:
    """
    key: the row. unit: what `per` items of an operation are, "tok", "MB", or "op".
    sides: {name: open(bench)}, which returns a Probe; the first side is judged, the others'
    times are divided by its own. targets: {name: Target} of these ratios.
    seconds_target: the longest an operation of the first side may take.
    weight: its share of the time. sample_ns: a sample of the first side takes at least that.
    samples: of each side, at most.
    """

    key: str
    unit: str
    per: float
    sides: dict
    targets: dict = field(default_factory=dict)
    seconds_target: float | None = None
    threads: int = 1
    weight: float = 1.0
    warmup: int = 10
    sample_ns: int = 100_000
    samples: int = 200


@dataclass(frozen=True)
class Verdict:
    """A target of a contest: what was reached and whether it is met, True or False."""

    key: str
    against: str
    target: str
    reached: float
    is_met: bool


@dataclass(frozen=True)
class Outcome:
    """A contest that was held: seconds of every sample by side, and why a side is missing."""

    contest: Contest
    seconds: dict
    missing: dict
    told: dict  # what a side says of itself: its settings

    @property
    def first(self):
        return next(iter(self.contest.sides))

    def ratio(self, name):
        """Returns the Interval of a side's time over that of the first; None for itself."""
        if name == self.first:
            return None
        return inference.ratio(self.seconds[self.first], self.seconds[name])

    def verdicts(self):
        """Yields the Verdict of each target whose side was there."""
        c = self.contest
        if c.seconds_target is not None and self.seconds:
            median = stats.summary(self.seconds[self.first]).median
            text = f"≤ {table.quantity(c.seconds_target)}"
            yield Verdict(c.key, "", text, median, median <= c.seconds_target)
        for name, target in c.targets.items():
            if name in self.seconds:
                reached = self.ratio(name).point
                yield Verdict(c.key, name, str(target), reached, target.is_met(reached))

    def as_dict(self):
        c = self.contest
        sides = {}
        for name, values in self.seconds.items():
            ratio = self.ratio(name)
            sides[name] = {
                "seconds": stats.summary(values)._asdict(),
                "ratio": ratio and {"lo": ratio.lo, "point": ratio.point, "hi": ratio.hi},
                "settings": self.told.get(name, ""),
            }
        verdicts = [vars(v) for v in self.verdicts()]
        return {"key": c.key, "unit": c.unit, "per": c.per, "sides": sides,
                "missing": self.missing, "verdicts": verdicts}  # fmt: skip


def local(make):
    """Opens a side in this process; make() returns run(loops)."""
    return lambda bench: Probe(replace(bench, make=make), _AS_IS)


def remote(engines, name, path=None, **spec):
    """Opens a side in the process of an engine; path() returns the file it is to open."""

    def open_side(bench):
        if path is not None:
            spec["path"] = str(path())
        probe = RemoteProbe(bench, engines.process(name), {"threads": bench.threads, **spec})
        if probe.error:
            raise BuildError(probe.error)
        return probe

    return open_side


def fresh(make, arguments):
    """
    Opens a side each of whose samples is one call of what make() returns anew.

    arguments: each sample takes the next, in a circle, after a call with the one before it that
    does not count, if there are several.
    """
    return lambda bench: _FreshProbe(replace(bench, make=make), arguments)


class _OnceProbe(Probe):
    """A side whose sample is one call, however short."""

    def __init__(self, bench):
        super().__init__(bench, _AS_IS)

    def calibrate(self, least_ns):
        self.loops = 1
        return self.time_once()


class _FreshProbe(_OnceProbe):
    def __init__(self, bench, arguments):
        super().__init__(bench)
        self._arguments = arguments
        self._next = 0

    def time_once(self):
        call = self.bench.make()
        before, argument = self._arguments[self._next - 1], self._arguments[self._next]
        self._next = (self._next + 1) % len(self._arguments)
        if len(self._arguments) > 1:
            call(before)
        start = time.perf_counter_ns()
        if self.loops:
            call(argument)
        return time.perf_counter_ns() - start


def spawned(command):
    """Opens a side each of whose samples is a process that writes the ns it took."""
    return lambda bench: _SpawnedProbe(replace(bench, make=lambda: None), command)


class _SpawnedProbe(_OnceProbe):
    def __init__(self, bench, command):
        super().__init__(bench)
        self._command = command

    def time_once(self):
        done = subprocess.run(self._command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildError(f"a process ended with status {done.returncode}: {done.stderr}")
        return int(done.stdout)


def hold(contest, options, progress):
    """
    Holds a contest and returns its Outcome, or None if Ctrl-C ended it.

    options: Options whose seconds are this contest's. progress: as measure wants it.
    """
    unit, missing, told = {}, {}, {}
    for name, open_side in contest.sides.items():
        bench = Bench(f"{contest.key}/{name}", None, key=contest.key, threads=contest.threads)
        try:
            unit[name] = open_side(bench)
        except (BuildError, OSError, ValueError) as error:
            missing[name] = str(error).splitlines()[0]
            if not unit:  # without the first there is nothing to compare with
                return Outcome(contest, {}, missing, {})
        else:
            told[name] = getattr(unit[name], "answer", {}).get("note", "")
    part = replace(
        options, warmup=contest.warmup, sample_ns=contest.sample_ns,
        samples=min(options.samples, contest.samples),
    )  # fmt: skip
    if not measure([list(unit.values())], part, progress):
        return None
    seconds = {name: probe.row().values for name, probe in unit.items()}
    return Outcome(contest, seconds, missing, told)
