# SPDX-License-Identifier: Apache-2.0
"""The gate's decisions on made-up samples whose right verdict is known."""

import random

import pytest

from benches import gate
from benches.result import Row, Run

MACHINE = {"clock": "wall", "arch": "x86_64", "cpu": "A", "cores": 2}


def noisy(factor=1.0, n=60, seed=1, noise=0.02, base=1000.0):
    """Samples above a floor, as timings are: base * factor * (1 + noise * exponential)."""
    rng = random.Random(seed)
    return [base * factor * (1 + noise * rng.expovariate(1)) for _ in range(n)]


def make_run(machine=MACHINE, **rows):
    return Run([Row(i, s) for i, s in rows.items()], machine)


def never(ids):
    raise AssertionError(f"measured again: {ids}")


def decide(base, current, again=None):
    """The gate's outcome where the rerun gives `again`, or repeats the same run."""
    return gate.gate([base], current, lambda ids: (base, again or current))


def test_same_code_passes_without_a_rerun():
    outcome = gate.gate([make_run(a=noisy(seed=1))], make_run(a=noisy(seed=2)), never)
    assert outcome.status == gate.PASS


@pytest.mark.parametrize(
    ("percent", "status"),
    [(8, gate.PASS), (12, gate.REGRESSION), (50, gate.REGRESSION), (-30, gate.PASS)],
)
def test_slow_down_is_judged_by_ten_percent(percent, status):
    base, slow = noisy(seed=1, noise=0.005), noisy(1 + percent / 100, seed=2, noise=0.005)
    assert decide(make_run(a=base), make_run(a=slow)).status == status


def test_slow_down_that_the_rerun_denies_passes():
    base = make_run(a=noisy(seed=1))
    outcome = decide(base, make_run(a=noisy(1.2, seed=2)), make_run(a=noisy(seed=3)))
    assert outcome.status == gate.PASS
    assert "once" in outcome.verdicts[0].why


def test_rerun_is_asked_for_doubtful_rows_only():
    asked = []

    def again(ids):
        asked.extend(ids)
        return make_run(b=noisy(seed=1)), make_run(b=noisy(1.2, seed=4))

    base = make_run(a=noisy(seed=1), b=noisy(seed=1))
    outcome = gate.gate([base], make_run(a=noisy(seed=2), b=noisy(1.2, seed=3)), again)
    assert asked == ["b"] and outcome.status == gate.REGRESSION
    assert "b" in outcome.line


def test_slow_median_with_an_unchanged_minimum_is_inconclusive():
    # a busy machine: the fastest samples are as before, most are half again as slow
    busy = noisy(seed=2)[:15] + noisy(1.5, n=45, seed=3)
    outcome = decide(make_run(a=noisy(seed=1)), make_run(a=busy))
    assert outcome.status == gate.INCONCLUSIVE and "--against" in outcome.line


def test_wide_interval_is_inconclusive_not_a_pass():
    outcome = decide(make_run(a=noisy(n=12, noise=2.0, seed=1)),
                     make_run(a=noisy(n=12, noise=2.0, seed=2)))  # fmt: skip
    assert outcome.status == gate.INCONCLUSIVE


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(3.27, 3.82, gate.SAME), (3.27, 3.95, gate.SLOWER), (3.95, 3.27, gate.FASTER),
     (15.6, 17.4, gate.SLOWER)],
)  # fmt: skip
def test_a_cycle_or_two_of_a_short_operation_are_chance(before, after, verdict):
    rows = [Row("a", noisy(noise=0.002, seed=i, base=1000 * t), loops=1000)
            for i, t in enumerate((before, after))]  # fmt: skip
    found = gate.judge(*rows)
    assert found.verdict == verdict
    assert ("0.6 ns" in found.why) == (verdict == gate.SAME)


def test_few_samples_are_never_a_regression():
    outcome = decide(make_run(a=[100] * 9), make_run(a=[200] * 9))
    assert outcome.status == gate.INCONCLUSIVE


def test_other_machine_is_not_comparable_and_says_which_field():
    other = make_run({**MACHINE, "cores": 4}, a=noisy())
    outcome = gate.gate([other], make_run(a=noisy()), never)
    assert outcome.status == gate.NOT_COMPARABLE and "cores" in outcome.line


def test_other_clock_and_emulated_time_are_not_comparable():
    for clock in ("insn", "emulated"):
        run = make_run({**MACHINE, "clock": clock}, a=noisy())
        outcome = gate.gate([make_run(a=noisy())], run, never)
        assert outcome.status == gate.NOT_COMPARABLE


def test_empty_baseline_is_not_comparable():
    assert gate.gate([], make_run(a=noisy()), never).status == gate.NOT_COMPARABLE


def test_no_common_row_is_not_comparable():
    assert decide(make_run(a=noisy()), make_run(b=noisy())).status == gate.NOT_COMPARABLE


def test_throttled_run_is_inconclusive():
    run = Run([Row("a", noisy())], MACHINE, {"throttled": True})
    assert gate.gate([make_run(a=noisy())], run, never).status == gate.INCONCLUSIVE


def test_slower_machine_is_told_from_slower_code():
    base = make_run(**{"a": noisy(seed=1), gate.CONTROL: noisy(seed=2)})
    slow = make_run(**{"a": noisy(1.3, seed=3), gate.CONTROL: noisy(1.3, seed=4)})
    outcome = decide(base, slow)
    assert outcome.status == gate.INCONCLUSIVE and "machine changed" in outcome.line


def test_slower_code_on_an_unchanged_machine_is_a_regression():
    base = make_run(**{"a": noisy(seed=1), gate.CONTROL: noisy(seed=2)})
    slow = make_run(**{"a": noisy(1.3, seed=3), gate.CONTROL: noisy(seed=4)})
    assert decide(base, slow).status == gate.REGRESSION


def exact_run(unit, value, clock="insn"):
    machine = {"clock": clock, "arch": "aarch64"}
    return Run([Row("a", (value,), unit=unit)], machine)


@pytest.mark.parametrize(
    ("unit", "before", "after", "status"),
    [
        ("byte", 1000, 1000, gate.PASS),
        ("byte", 1000, 1001, gate.REGRESSION),
        ("byte", 1000, 900, gate.PASS),
        ("byte", 0, 1, gate.REGRESSION),
        ("instruction", 1000, 1050, gate.PASS),
        ("instruction", 1000, 1100, gate.PASS),
        ("instruction", 1000, 1101, gate.REGRESSION),
    ],
)
def test_exact_counts_are_judged_without_a_rerun(unit, before, after, status):
    outcome = gate.gate([exact_run(unit, before)], exact_run(unit, after), never)
    assert outcome.status == status


def test_another_model_is_never_a_regression():
    verdict = gate.judge(Row("a", noisy(), model_hash="1"), Row("a", noisy(2), model_hash="2"))
    assert verdict.verdict == gate.UNSURE and verdict.why == "another model"


def test_compare_names_new_and_gone_rows():
    found = gate.compare(make_run(a=noisy(), b=noisy()), make_run(b=noisy(), c=noisy()))
    assert [(v.id, v.verdict) for v in found] == [("b", "same"), ("c", "new"), ("a", "gone")]


def test_lines_fit_a_hundred_columns():
    rows = {"x" * 60: noisy(), "b": noisy(), "c": [1] * 3}
    found = gate.compare(make_run(**rows), make_run(d=noisy(), **rows))
    text = list(gate.lines(found))
    assert len(text) > 4 and max(map(len, text)) <= 100


def test_false_alarms_and_misses_on_simulated_noise():
    # 5 % exponential noise with bursts of 50 % on a third of the samples, as a busy machine gives
    def samples(factor, rng):
        return [
            1000 * factor * (1 + 0.05 * rng.expovariate(1)) * (1.5 if rng.random() < 0.33 else 1)
            for _ in range(100)
        ]

    rng = random.Random(5)
    seen = {1.0: [], 1.2: []}
    for factor, statuses in seen.items():
        for _ in range(60):
            base = make_run(a=samples(1, rng))
            current = make_run(a=samples(factor, rng))
            again = make_run(a=samples(factor, rng))
            statuses.append(decide(base, current, again).status)
    assert gate.REGRESSION not in seen[1.0]
    assert seen[1.2].count(gate.PASS) == 0 and seen[1.2].count(gate.REGRESSION) >= 55
