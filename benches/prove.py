# SPDX-License-Identifier: Apache-2.0
"""
Measures how often the gate is wrong: `python -m benches.prove --repeat 300`.

Each repetition measures the same code twice, the second time held up by nothing, 8 or 12 percent,
and lets the gate decide with its rerun. Nothing and 8 must pass, 12 must not. With --out the
repetitions are added to those of earlier calls, so that many short calls make one large number.
"""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benches import gate, inference, machine
from benches.declare import Selection, UsageError, collect
from benches.progress import progress
from benches.result import IDENTITY, ResultError, Run, write_text
from benches.run import Options, Probe, measure, timer_step
from kernel_llm.files import check_writable
from kernel_llm.terminal import INTERRUPTED, Parser, run_command

ROWS = ("tokenize/100", "dequantize/q4_0/32x32", "dot/f32/384", "matvec/f32/384x384",
        "matvec/q8_0/384x384", "matvec/q4_0/384x384", "layernorm/384", "softmax/256",
        "swiglu/1536", "arena/1024")  # fmt: skip
DELAYS = (0.0, 8.0, 12.0)
STATUS = {gate.PASS: "pass", gate.REGRESSION: "regression", gate.INCONCLUSIVE: "inconclusive"}
FORMAT = "kernel-llm-prove"
# A process that keeps a core busy as long as we live; a Ctrl-C is not for it.
SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


class Trial:
    """One pretended change: a base run, a held-up run, and the gate's decision."""

    def __init__(self, benches, options, is_paired, step_ns):
        self.benches = benches
        self.options = options
        self.is_paired = is_paired
        self.step_ns = step_ns

    def decide(self, seed, delay):
        """Returns the gate.Gate of one repetition, the second build slower by delay percent."""
        options = replace(self.options, seed=seed, slow=delay)
        base, current = self._measure(self.benches, options)

        def again(ids):
            some = [b for b in self.benches if b.id in ids or b.id == gate.CONTROL]
            second = replace(options, seed=seed + 10**6, samples=2 * options.samples)
            return self._measure(some, second, base)

        return gate.gate([base], current, again)

    def _measure(self, benches, options, stored=None):
        current = [Probe(b, options) for b in benches]
        if not self.is_paired and stored is not None:
            self._all([[p] for p in current], options)
            kept = {b.id for b in benches}
            return _run([r for r in stored.rows if r.id in kept]), _run(p.row() for p in current)
        base = [Probe(b, replace(options, slow=0.0)) for b in benches]
        if self.is_paired:
            self._all([list(pair) for pair in zip(base, current, strict=True)], options)
        else:
            self._all([[p] for p in base], options)
            self._all([[p] for p in current], options)
        return _run(p.row() for p in base), _run(p.row() for p in current)

    def _all(self, units, options):
        if not measure(units, options, step_ns=self.step_ns):
            raise KeyboardInterrupt


def _run(rows):
    return Run(rows, {"clock": "wall"})


class Tally:
    """
    What was decided so far: `counts` by delay and status, and the rows a false alarm named.

    setting: what must be the same for repetitions to be added up, as plain JSON.
    """

    def __init__(self, setting):
        self.data = {"format": FORMAT, "setting": setting, "calls": [], "counts": {}}

    def add(self, delay, outcome):
        none = {**dict.fromkeys(STATUS.values(), 0), "wrong_rows": 0}
        seen = self.data["counts"].setdefault(f"{delay:g}", none)
        seen[STATUS[outcome.status]] += 1
        if delay < 10:
            seen["wrong_rows"] += sum(v.verdict == gate.SLOWER for v in outcome.verdicts)

    @property
    def n(self):
        """Repetitions of the delay that has most."""
        return max(map(self._total, self.data["counts"].values()), default=0)

    @staticmethod
    def _total(seen):
        return sum(seen[name] for name in STATUS.values())

    def load(self, path):
        """Takes over what a file holds; raises ResultError if that was something else."""
        try:
            data = json.loads(Path(path).read_text())
            if data["format"] != FORMAT or set(data) != set(self.data):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise ResultError(f"{path}: not a file of benches.prove") from None
        ours = self.data["setting"]
        fields = [k for k in ours if data["setting"].get(k) != ours[k]]
        if fields:
            raise ResultError(f"{path}: made with another {fields[0]}; give another --out")
        self.data = data

    def lines(self):
        """Yields what was counted, with 95 % upper bounds of the wrong decisions."""
        setting = self.data["setting"]
        n_row = len(setting["rows"])
        others = [c["others"] for c in self.data["calls"] if c["others"] is not None]
        beside = f"; others used {max(others):.2f} cores at most" if others else ""
        yield (
            f"{n_row} rows a repetition, {setting['samples']} samples a row, {setting['mode']}, "
            f"{setting['busy']} busy processes beside it{beside}"
        )
        heads = ("held up by", "pass", "regression", "inconclusive")
        yield "{:>11} {:>6} {:>11} {:>13}  wrong, 95 % bound".format(*heads)
        for delay, seen in self.data["counts"].items():
            n, is_slow = self._total(seen), float(delay) >= 10
            wrong = seen["pass"] if is_slow else seen["regression"]
            what = "missed" if is_slow else "false alarms"
            bound = inference.binomial_upper(wrong, n) if n else 1.0
            text = f"{what} {wrong} of {n}, at most {bound * 100:.2g} %"
            if not is_slow and n:
                each = inference.binomial_upper(seen["wrong_rows"], n * n_row)
                text += f"; of rows {each * 100:.2g} %"
            counts = (seen["pass"], seen["regression"], seen["inconclusive"])
            yield "{:>9} % {:>6} {:>11} {:>13}  {}".format(delay, *counts, text)


@contextmanager
def busy(n):
    """Keeps n cores busy beside us."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN], start_new_session=True)
                for _ in range(n)]  # fmt: skip
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def repeat(tally, trial, args):
    """
    Adds up to args.repeat repetitions, within args.seconds. Returns the exit status: a Ctrl-C ends
    with those done.
    """
    status = 0
    start, first = time.monotonic(), tally.n
    before, cpu_before = machine.conditions(), time.process_time()
    with busy(args.busy), progress() as show:
        try:
            for i in range(args.repeat):
                share = i / args.repeat
                if args.seconds:
                    share = max(share, (time.monotonic() - start) / args.seconds)
                if share >= 1:
                    break
                show(share, 1.0, f"repetition {first + i + 1}")
                for delay in args.delay:
                    tally.add(delay, trial.decide(first + i, delay))
        except KeyboardInterrupt:
            status = INTERRUPTED
            sys.stderr.write("interrupted: this is what was counted until then\n")
    after, cpu = machine.conditions(), time.process_time() - cpu_before
    others = machine.others_share(before, after, cpu)
    if others is not None:
        others = max(0.0, others - args.busy)
    tally.data["calls"].append({"date": before["time"], "load": after["load"], "others": others,
                                "seconds": round(time.monotonic() - start)})  # fmt: skip
    return status


def parser():
    p = Parser(prog="python -m benches.prove", description=__doc__.split("\n\n")[0])
    p.add_argument("--repeat", type=int, default=300)
    p.add_argument("--seconds", type=float, help="end earlier, after so long")
    p.add_argument("--samples", type=int, default=30, help="of each row (30)")
    p.add_argument("--delay", type=float, nargs="+", default=list(DELAYS), metavar="PERCENT")
    p.add_argument("--stored", action="store_true", help="base first, then the change: no pairs")
    p.add_argument("--busy", type=int, default=0, metavar="N", help="beside N busy processes")
    p.add_argument("--out", type=Path, help="add to the repetitions this file holds")
    p.add_argument("--json", action="store_true", help="the counts as JSON")
    return p


def main(arguments=None):
    return run_command("benches.prove", lambda: _prove(parser(), arguments),
                       (ResultError, UsageError))  # fmt: skip


def _prove(p, arguments):
    args = p.parse_args(arguments)
    if min(args.repeat, args.busy) < 0 or args.samples < gate.N_LEAST:
        p.error(f"--repeat and --busy 0 or more, --samples {gate.N_LEAST} or more")
    options = Options(warmup=10, samples=args.samples, seconds=args.seconds)  # or UsageError
    for delay in args.delay:
        replace(options, slow=delay)
    benches, _ = collect(Selection(only=(*ROWS, gate.CONTROL)))
    best = {b.key: b for b in benches}
    known = machine.fingerprint()
    tally = Tally({
        "mode": "base first" if args.stored else "pairs", "samples": args.samples,
        "busy": args.busy,
        "machine": {k: known[k] for k in IDENTITY["wall"]},
        "rows": [b.id for b in best.values() if b.id != gate.CONTROL],
    })  # fmt: skip
    if args.out:
        check_writable(args.out)
        if args.out.exists():
            tally.load(args.out)
    trial = Trial(list(best.values()), replace(options, seconds=None), not args.stored,
                  timer_step())  # fmt: skip
    status = repeat(tally, trial, args)
    if args.out:
        write_text(args.out, json.dumps(tally.data, indent=1) + "\n")
    if args.json:
        sys.stdout.write(json.dumps(tally.data) + "\n")
    else:
        sys.stdout.write("\n".join(tally.lines()) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
