# SPDX-License-Identifier: Apache-2.0
"""The runner on benches whose time is known: loops, warm-up, turns, budget, interruption."""

import gc
import os
import time
from itertools import pairwise

import pytest

from benches import run as runner
from benches.declare import Bench, Selection, UsageError, benchmark, collect
from benches.run import Options, Probe, measure

QUICK = Options(warmup=5, samples=20, sample_ns=20_000)


def spin(ns):
    """A bench that takes ns for each loop."""

    def run(loops):
        end = time.perf_counter_ns() + ns * loops
        while time.perf_counter_ns() < end:
            pass

    return run


def bench(name, run, **fields):
    return Bench(name, lambda: run, **fields)


def test_calibration_makes_samples_long_enough():
    probe = Probe(bench("a", spin(1000)), QUICK)
    probe.calibrate(100_000)
    # three stalls in a row, the longest half a sample, are all that calibration may mistake
    assert probe.loops >= 50 and min(probe.burst(3)) >= 50_000


def test_a_stall_is_not_taken_for_work():
    n_call = 0

    def run(loops):
        nonlocal n_call
        n_call += loops > 0
        spin(20_000_000 if n_call == 1 else 1000 * loops)(1)  # the first call waits for the CPU

    probe = Probe(bench("a", run), QUICK)
    assert probe.calibrate(100_000) < 10_000_000
    assert probe.loops >= 50


def test_calibration_covers_the_cost_of_a_call_without_loops():
    def run(loops):
        spin(20_000 + 10 * loops)(1)

    probe = Probe(bench("a", run), QUICK)
    probe.calibrate(1000)
    assert min(probe.burst(3)) >= 20_000 * runner.MIN_FIXED * 0.9


def test_measure_takes_the_samples_asked_for_and_leaves_gc_as_it_was():
    seen = []

    def run(loops):
        seen.append(gc.isenabled())
        spin(100)(loops)

    probe = Probe(bench("a", run), QUICK)
    assert gc.isenabled() and measure([[probe]], QUICK) and gc.isenabled()
    assert len(probe.samples) == 20 and not any(seen)
    row = probe.row()
    # a loop takes 100 ns; a sample's own overhead is a call and two readings of the clock
    assert 100e-9 <= row.summary.min <= 150e-9
    assert row.n_warmup >= 5


def test_measure_interleaves_benches_in_changing_order():
    order = []

    def run_of(name):
        def run(loops):
            order.append(name)
            spin(30_000)(1)

        return run

    options = Options(warmup=0, samples=200, sample_ns=20_000)
    probes = [Probe(bench(n, run_of(n)), options) for n in "abc"]
    measure([[p] for p in probes], options)
    turns = [n for i, n in enumerate(order) if i == 0 or order[i - 1] != n]
    thirds = {tuple(turns[i : i + 3]) for i in range(3, len(turns) - 2, 3)}
    assert len(turns) > 15 and len(thirds) > 1


def test_pair_shares_loops_and_takes_equal_samples():
    fast, slow = (Probe(bench(n, spin(ns)), QUICK) for n, ns in (("a", 100), ("b", 200)))
    measure([[fast, slow]], QUICK)
    assert fast.loops == slow.loops and len(fast.samples) == len(slow.samples) == 20
    assert 1.5 < min(slow.samples) / min(fast.samples) < 2.5


@pytest.mark.parametrize("percent", [8, 12])
def test_slow_down_knob_adds_what_it_says(percent):
    options = Options(warmup=0, samples=30, slow=percent, slow_only="a*")
    held, free = (Probe(bench(n, spin(1000)), options) for n in ("a/x", "b"))
    measure([[free, held]], options)
    assert min(held.samples) / min(free.samples) == pytest.approx(1 + percent / 100, abs=0.02)


def test_budget_ends_long_benches_with_the_least_number_of_samples():
    options = Options(warmup=100, samples=1000, seconds=0.2)
    probe = Probe(bench("a", spin(20_000_000)), options)
    measure([[probe]], options)
    assert len(probe.samples) >= runner.N_LEAST
    assert len(probe.samples) + probe.n_warmup < 50  # 20 ms each; 1100 are asked for


def test_interrupt_keeps_what_was_measured():
    count = 0

    def run(loops):
        nonlocal count
        count += 1
        if count > 300:
            raise KeyboardInterrupt
        spin(20_000)(1)

    options = Options(warmup=0, samples=1000, sample_ns=10_000)
    probe = Probe(bench("a", run), options)
    assert measure([[probe]], options) is False
    assert 0 < len(probe.samples) < 300


def test_warm_up_goes_on_while_samples_fall():
    left = [60]

    def run(loops):
        left[0] = max(0, left[0] - 1)
        spin(20_000 + 5000 * left[0])(1)

    probe = Probe(bench("a", run), QUICK)
    probe.loops = 1
    assert runner.warm_up(probe, 10, 10**10) >= 50
    assert runner.warm_up(probe, 0, 10**10) == 0


def test_pin_is_taken_back():
    before = os.sched_getaffinity(0)
    with runner.pinned(True):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_timer_step_is_of_nanoseconds_to_microseconds():
    assert 1 <= runner.timer_step() < 100_000


def test_selection_matches_keys_their_beginnings_and_patterns():
    assert Selection(only=("dot",)).wants("dot/f32/384")
    assert Selection(only=("*/q4_0/*",)).wants("matvec/q4_0/384x384")
    assert not Selection(only=("do",)).wants("dot/f32/384")
    assert Selection().wants("anything")


def test_user_file_joins_the_suite(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from benches.declare import benchmark\n"
        "@benchmark('mine/sum', setup=lambda: list(range(100)), work={'item': 100})\n"
        "def add(numbers):\n    'Adds a hundred numbers.'\n    return sum(numbers)\n"
    )
    selection = Selection(only=("mine",), files=(str(tmp_path / "mine.py"),))
    benches, _ = collect(selection)
    assert [(b.id, b.explain) for b in benches] == [("mine/sum", "Adds a hundred numbers.")]
    probe = Probe(benches[0], QUICK)
    assert measure([[probe]], QUICK) and probe.row().summary.min > 0


def test_user_file_problems_are_told(tmp_path):
    (tmp_path / "none.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="declares no benchmark"):
        collect(Selection(files=(str(tmp_path / "none.py"),)))
    (tmp_path / "bad.py").write_text("import json\n\njson.loads('{')\n")
    with pytest.raises(UsageError, match=r"bad\.py: line 3: JSONDecodeError: "):
        collect(Selection(files=(str(tmp_path / "bad.py"),)))
    (tmp_path / "words.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(UsageError, match=r"words\.py: line 2: SyntaxError: "):
        collect(Selection(files=(str(tmp_path / "words.py"),)))
    with pytest.raises(FileNotFoundError):
        collect(Selection(files=(str(tmp_path / "absent.py"),)))


def test_two_benches_of_one_name_are_refused(tmp_path):
    text = "from benches.declare import benchmark\n"
    text += "@benchmark('mine/a')\ndef a(): pass\n@benchmark('mine/a')\ndef b(): pass\n"
    (tmp_path / "twice.py").write_text(text)
    with pytest.raises(UsageError, match="two benchmarks"):
        collect(Selection(files=(str(tmp_path / "twice.py"),)))


def test_benchmark_with_loops_repeats_itself():
    calls = []

    @benchmark("mine/loops", takes_loops=True)
    def repeat(loops):
        calls.append(loops)

    from benches.declare import _decorated

    _decorated.pop().make()(7)
    assert calls == [7]


def test_copies_of_a_bench_take_turns():
    made, order = [], []

    def make():
        name = len(made)
        made.append(name)

        def run(loops):
            order.append(name)
            spin(1000)(loops)

        return run

    probe = Probe(Bench("a", make, copies=3), QUICK)
    measure([[probe]], QUICK)
    turns = [n for i, n in enumerate(order) if i == 0 or order[i - 1] != n]
    assert made == [0, 1, 2] and len(turns) > 6
    assert all((b - a) % 3 == 1 for a, b in pairwise(turns))
