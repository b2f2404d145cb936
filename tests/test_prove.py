# SPDX-License-Identifier: Apache-2.0
"""The command that measures the gate's error rates: what it counts, and how calls add up."""

import json

import pytest

from benches import gate, prove

SETTING = {"mode": "pairs", "samples": 30, "busy": 0, "machine": {}, "rows": ["a", "b"]}


def outcome(status, slower=0):
    rows = [gate.Verdict(str(i), gate.SLOWER) for i in range(slower)]
    return gate.Gate(status, "", tuple(rows))


def test_lines_give_wrong_decisions_and_their_bounds():
    tally = prove.Tally(SETTING)
    for _ in range(98):
        tally.add(0.0, outcome(gate.PASS))
    tally.add(0.0, outcome(gate.REGRESSION, slower=2))
    tally.add(0.0, outcome(gate.INCONCLUSIVE))
    for _ in range(300):
        tally.add(12.0, outcome(gate.REGRESSION, slower=2))
    assert tally.n == 300
    text = "\n".join(tally.lines())
    # Clopper-Pearson at 95 %: 1 of 100 is at most 4.66 %, 2 of 200 rows 3.11 %, 0 of 300 0.993 %
    assert "false alarms 1 of 100, at most 4.7 %; of rows 3.1 %" in text
    assert "missed 0 of 300, at most 0.99 %" in text


def call(*arguments):
    return prove.main([str(a) for a in arguments])


def test_calls_add_up_and_other_settings_are_refused(tmp_path, capsys):
    out = tmp_path / "rates.json"
    common = ["--repeat", 1, "--samples", 10, "--delay", 0, 40, "--out", out]
    assert call(*common) == 0 and call(*common) == 0
    data = json.loads(out.read_text())
    assert len(data["calls"]) == 2
    counts = data["counts"]
    for delay in ("0", "40"):
        assert sum(counts[delay][name] for name in prove.STATUS.values()) == 2
    assert counts["0"]["regression"] == 0 and counts["40"]["pass"] == 0
    before = out.read_bytes()
    capsys.readouterr()
    assert call(*common, "--samples", 11) == 2
    err = capsys.readouterr().err
    assert "samples" in err and err.count("\n") == 1 and out.read_bytes() == before


def test_a_file_of_something_else_is_refused_and_left(tmp_path, capsys):
    for text in ("{", "[]", '{"format": "kernel-llm-bench", "runs": []}'):
        (tmp_path / "a.json").write_text(text)
        assert call("--repeat", 0, "--out", tmp_path / "a.json") == 2
        assert (tmp_path / "a.json").read_text() == text
    assert "not a file of benches.prove" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [["--samples", "9"], ["--repeat", "-1"]], ids=str)
def test_numbers_without_sense_are_refused(bad):
    with pytest.raises(SystemExit) as ended:
        prove.main(bad)
    assert ended.value.code == 2
