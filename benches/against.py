# SPDX-License-Identifier: Apache-2.0
"""
Two builds on one machine at one time: this tree and a git revision, in interleaved pairs.

Whatever slows the machine falls on both, so the ratio stays honest where a stored baseline does
not: on a noisy, busy or unknown machine.
"""

import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benches import machine
from benches.machine import ROOT
from benches.remote import BuildError, Process, RemoteProbe
from benches.result import Run
from benches.run import measure as measure_units
from benches.run import timer_step
from benches.session import batches

WORKER = Path(__file__).resolve().parent / "worker.py"


def build(ref):
    """Returns the folder of a revision, checked out and built; made once for each commit."""
    commit = _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if not commit:
        raise BuildError(f"--against {ref}: git knows no such revision here")
    folder = ROOT / "build" / "against" / commit[:12]
    if not (folder / ".git").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _git("worktree", "prune")
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git("worktree", "add", "--detach", str(folder), commit, must=True)
    # The command line of the build was native/build.py before it had a file of its own.
    scripts = ("native/__main__.py", "native/build.py")
    script = next((name for name in scripts if (folder / name).exists()), None)
    if script is None:
        raise BuildError(f"--against {ref}: that revision has nothing in native/ to build it with")
    sys.stderr.write(f"building {ref} in {folder.relative_to(ROOT)}\n")
    done = subprocess.run([sys.executable, script, "extension"], cwd=folder,
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        raise BuildError(f"--against {ref}: it does not build: {lines[-1]}")
    return folder


def _git(*arguments, must=False):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if must and done.returncode != 0:
        raise BuildError(f"git {arguments[0]}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip() if done.returncode == 0 else ""


class Worker(Process):
    """A revision under test; a process that answers requests."""

    def __init__(self, root, selection, options, slow=0.0):
        super().__init__([sys.executable, str(WORKER), str(root)], cwd=root)
        setting = {"selection": asdict(selection), "slow": slow, "slow_only": options.slow_only}
        # every row: which of them are measured is decided here
        setting["selection"].update(
            only=(), files=[str(Path(f).resolve()) for f in selection.files]
        )
        ready = self.ask(setting)
        if Path(ready["core"]) != Path(root).resolve():
            raise BuildError(f"the engine of {root} was not the one that started")


class Pairs:
    """
    Measures benches in two builds. Called with ids it measures those once more: the gate's rerun.

    `missing` says by id what only one build has.
    """

    def __init__(self, base_root, benches, selection, options, progress, slow_base=0.0):
        self.missing = {}
        self._benches = benches
        self._options = options
        self._progress = progress
        self._workers = []
        self._roots = (Path(base_root), ROOT)
        for root, slow in zip(self._roots, (slow_base, options.slow), strict=True):
            self._workers.append(Worker(root, selection, options, slow))
        self._step = timer_step()

    def close(self):
        for worker in self._workers:
            worker.close()

    def __call__(self, ids):
        some = [b for b in self._benches if b.id in set(ids)]
        seconds = self._options.seconds
        if seconds:
            seconds = max(5.0, 2 * seconds * len(some) / len(self._benches))
        options = replace(self._options, seconds=seconds, seed=self._options.seed + 1)
        return self.measure(some, options)

    def measure(self, benches, options):
        """Returns (run of the base, run of this tree)."""
        before = machine.conditions()
        weights = sum(b.weight for b in benches)
        rows = ([], [])
        first = 0.0
        for batch in batches(benches):
            share = sum(b.weight for b in batch) / weights

            def show(done, total, key, first=first, share=share):
                self._progress(first + share * min(1.0, done / max(total, 1)), 1.0, key)

            units = [u for u in (self._open(b) for b in batch) if u]
            part = replace(options, seconds=options.seconds and options.seconds * share)
            whole = measure_units(units, part, show, self._step)
            for side, out in enumerate(rows):
                out += [unit[side].row() for unit in units]
            for worker in self._workers:
                worker.ask({"close": True})
            if not whole:
                raise KeyboardInterrupt
            first += share
        after = machine.conditions()
        throttled = machine.was_throttled(before, after)
        told = {"before": before, "after": after, "throttled": throttled}
        fingerprint = machine.fingerprint("wall", 1, self._step)
        return tuple(Run(out, fingerprint, told, before["time"]) for out in rows)

    def _open(self, bench):
        place = {"key": bench.key, "level": bench.level}
        unit = [RemoteProbe(bench, worker, place) for worker in self._workers]
        models = [p.answer.get("model") for p in unit]
        if models[0] != models[1] and not any(p.error for p in unit):
            self.missing[bench.id] = f"models {models[0]} and {models[1]}"
            return None
        errors = [
            (name, p.error) for name, p in zip(("base", "tree"), unit, strict=True) if p.error
        ]
        if errors:
            self.missing[bench.id] = "; ".join(f"{name}: {text}" for name, text in errors)
            return None
        return unit


def measure(ref, benches, selection, options, progress):
    """
    Returns (run of the revision, run of this tree, Pairs for the rerun); the caller closes Pairs.

    Raises BuildError; KeyboardInterrupt where half a comparison is none.
    """
    pairs = Pairs(build(ref), benches, selection, options, progress)
    try:
        return *pairs.measure(benches, options), pairs
    except BaseException:
        pairs.close()
        raise
