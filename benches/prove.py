# SPDX-License-Identifier: Apache-2.0
"""
Measures how often the gate is wrong: `python -m benches.prove --repeat 300`.

Each repetition measures the same code twice, the second time held up by nothing, 8 or 12 percent,
and lets the gate decide with its rerun. Nothing and 8 must pass, 12 must not.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import replace

from benches import gate, machine, stats
from benches.declare import Selection, collect
from benches.result import Run
from benches.run import Options, Probe, measure, timer_step

ROWS = ("dot/f32/384", "matvec/q8_0/384x384", "layernorm/384", "swiglu/1536", "arena/1024")
DELAYS = (0.0, 8.0, 12.0)
STATUS = {gate.PASS: "pass", gate.REGRESSION: "regression", gate.INCONCLUSIVE: "inconclusive",
          gate.NOT_COMPARABLE: "not comparable"}  # fmt: skip


class Trial:
    """One pretended change: a base run, a held-up run, and the gate's decision."""

    def __init__(self, benches, options, delay, is_paired, step_ns):
        self.benches = benches
        self.options = options
        self.delay = delay
        self.is_paired = is_paired
        self.step_ns = step_ns
        self.fingerprint = {"clock": "wall"}

    def decide(self, seed):
        """Returns the gate.Gate of one repetition."""
        options = replace(self.options, seed=seed)
        base, current = self._measure(self.benches, options)

        def again(ids):
            some = [b for b in self.benches if b.id in ids or b.id == gate.CONTROL]
            second = replace(options, seed=seed + 10**6, samples=2 * options.samples)
            return self._measure(some, second, base)

        return gate.gate([base], current, again)

    def _measure(self, benches, options, stored=None):
        held = replace(options, slow=self.delay)
        current = [Probe(b, held) for b in benches]
        if not self.is_paired and stored is not None:
            self._all([[p] for p in current], options)
            kept = {b.id for b in benches}
            rows = [row for row in stored.rows if row.id in kept]
            return self._run(rows), self._run([p.row() for p in current])
        base = [Probe(b, options) for b in benches]
        if self.is_paired:
            self._all([list(pair) for pair in zip(base, current, strict=True)], options)
        else:
            self._all([[p] for p in base], options)
            self._all([[p] for p in current], options)
        return self._run([p.row() for p in base]), self._run([p.row() for p in current])

    def _all(self, units, options):
        if not measure(units, options, step_ns=self.step_ns):
            raise KeyboardInterrupt

    def _run(self, rows):
        return Run(rows, self.fingerprint)


def table(counts, repeats, n_row):
    """Yields what was counted, with 95 % upper bounds of the wrong decisions."""
    yield f"{repeats} repetitions of {n_row} rows each; a wrong decision is one wrong row in them"
    heads = ("held up by", "pass", "regression", "inconclusive")
    yield "{:>11} {:>6} {:>11} {:>13}  wrong, 95 % bound".format(*heads)
    for delay, seen in counts.items():
        n = sum(seen.values())
        wrong = seen["pass"] if delay >= 10 else seen["regression"]
        what = "missed" if delay >= 10 else "false alarm"
        bound = stats.binomial_upper(wrong, n) if n else 1.0
        yield (
            f"{delay:>9g} % {seen['pass']:>6} {seen['regression']:>11} {seen['inconclusive']:>13}"
            f"  {what} {wrong}/{n}, at most {bound * 100:.2f} %"
        )


def main(arguments=None):
    p = argparse.ArgumentParser(prog="python -m benches.prove", description=__doc__)
    p.add_argument("--repeat", type=int, default=300)
    p.add_argument("--samples", type=int, default=60, help="of each row")
    p.add_argument("--stored", action="store_true", help="base first, then the change: no pairs")
    p.add_argument("--json", action="store_true", help="the counts as JSON")
    args = p.parse_args(arguments)
    if args.repeat < 1 or args.samples < gate.N_LEAST:
        p.error(f"--repeat 1 or more, --samples {gate.N_LEAST} or more")
    benches, _ = collect(Selection(only=(*ROWS, gate.CONTROL)))
    best = {b.key: b for b in benches}
    options = Options(warmup=10, samples=args.samples)
    step = timer_step()
    counts = {delay: Counter() for delay in DELAYS}
    done = 0
    before = machine.conditions()
    try:
        for done in range(args.repeat):
            for delay in DELAYS:
                trial = Trial(list(best.values()), options, delay, not args.stored, step)
                counts[delay][STATUS[trial.decide(done).status]] += 1
        done = args.repeat
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: this is what was counted until then\n")
    if args.json:
        told = {"repeats": done, "before": before, "after": machine.conditions()}
        sys.stdout.write(json.dumps({**told, "counts": counts}) + "\n")
        return 0
    for text in table(counts, done, len(best) - 1):
        sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
