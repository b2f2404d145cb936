# SPDX-License-Identifier: Apache-2.0
"""A whole measurement: open batch by batch, time, count, and make a Run of it."""

import resource
import time
from dataclasses import asdict, dataclass, replace

from benches import alloc, counters, machine
from benches.declare import NOT_OURS, OWN, BenchFailed, Skipped
from benches.result import Run
from benches.run import Probe, measure, pinned, timer_step

N_COUNTED = 3  # samples under the hardware counters


@dataclass(frozen=True)
class Report:
    """
    A Run and what is said about it: skipped rows, a user's that failed, why a column is empty,
    interrupted or not, and what each key does.
    """

    run: Run
    skipped: tuple = ()
    failed: tuple = ()
    reasons: dict = None
    is_whole: bool = True
    about: dict = None


def batches(benches):
    """Returns the benches in lists of one batch each, in order."""
    out = {}
    for bench in benches:
        out.setdefault(bench.batch, []).append(bench)
    return list(out.values())


def take(benches, selection, options, skipped=(), progress=lambda done, total, key: None,
         count=True):  # fmt: skip
    """
    Measures benches and returns a Report.

    progress: called with (seconds of the plan done, seconds planned, key). count: also count
    allocations and, where the system lets us, hardware events.
    """
    step = timer_step()
    before, cpu_before = machine.conditions(), cpu_seconds()
    weights = sum(b.weight for b in benches)
    rows, failed, is_whole, start_share = [], [], True, 0.0
    hardware = counters.Counters()
    for batch in batches(benches):
        if not is_whole:
            break
        share = sum(b.weight for b in batch) / weights
        part = replace(options, seconds=options.seconds and options.seconds * share)

        def show(done, total, key, first=start_share, share=share):
            progress(first + share * min(1.0, done / max(total, 1)), 1.0, key)

        probes, is_whole = _timed(batch, part, show, step, failed)
        rows += [_counted(p, hardware) for p in probes if p.samples]
        start_share += share
        del probes
    after = machine.conditions()
    reasons = dict(hardware.reasons)
    hardware.close()
    if count and is_whole:
        progress(1.0, 1.0, "allocations")
        rows, why = _with_allocations(rows, benches, selection)
        if why:
            reasons["allocations"] = why
    reasons["energy"] = counters.energy_source()[1]
    reasons["SIMD share of instructions"] = "make qemu counts it, on an emulated core"
    if selection.quick and selection.simd and any(b.batch.startswith("model/") for b in benches):
        reasons["whole models by portable code"] = "--quick leaves them out"
    told = _conditions(before, after, cpu_seconds() - cpu_before, options)
    threads = max((b.threads for b in benches), default=1)
    run = Run(rows, machine.fingerprint("wall", threads, step), told, before["time"])
    reasons = {k: v for k, v in reasons.items() if v}
    return Report(
        run, tuple(skipped), tuple(failed), reasons, is_whole, {b.key: b.explain for b in benches}
    )


def _timed(batch, options, progress, step, failed):
    """
    Returns the probes of a batch, and whether they are complete or Ctrl-C ended it. A user's
    benchmark that fails goes to `failed`; the others of its batch are timed without it.
    """
    try:
        if batch:
            progress(0, 1, batch[0].key)
        probes = [Probe(bench, options) for bench in batch]
        return probes, measure([[p] for p in probes], options, progress, step)
    except BenchFailed as failure:
        failed.append(Skipped(failure.key, str(failure)))
    except KeyboardInterrupt:
        return [], False
    others = [b for b in batch if b.key != failed[-1].key]
    return _timed(others, options, progress, step, failed)


def _counted(probe, hardware):
    """Returns the row of a probe, with hardware events of an operation where they are counted."""
    row = probe.row()
    if not hardware.names:
        return row
    with pinned(probe.bench.threads == 1):
        seen = [hardware.count(probe.time_once) for _ in range(N_COUNTED)]
    least = {name: min(s[name] for s in seen) / probe.loops for name in hardware.names}
    joules, _ = counters.energy_source()
    if joules is not None and "token" in row.work.get("item_name", ""):
        least["joule"] = _joules(probe, joules)
    return replace(row, counters=least)


def _joules(probe, joules):
    """Returns the energy of an operation, over half a second of them."""
    n, start, first = 0, time.monotonic(), joules()
    while time.monotonic() - start < 0.5:
        probe.time_once()
        n += probe.loops
    return max(0.0, joules() - first) / n


def _with_allocations(rows, benches, selection):
    """Counts allocations of our rows that a table shows: the best level of each key."""
    own = {b.id for b in benches if b.batch == OWN}
    best = {row.key: row.id for row in rows}  # scalar comes first, simd last
    wanted = [i for i in best.values() if i not in own and not i.startswith(NOT_OURS)]
    counts, why = alloc.count(wanted, asdict(selection), 90)
    return [replace(r, allocations=counts[r.id]) if r.id in counts else r for r in rows], why


def _conditions(before, after, own_seconds, options):
    return {
        "before": before,
        "after": after,
        "others": machine.others_share(before, after, own_seconds),
        "throttled": machine.was_throttled(before, after),
        "options": asdict(options),
    }


def cpu_seconds():
    """Returns the CPU time of this process and of its children that have ended."""
    own, children = (
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
