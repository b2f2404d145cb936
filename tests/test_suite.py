# SPDX-License-Identifier: Apache-2.0
"""The suite as a person runs it: command line, table, files, exit statuses."""

import itertools
import json
import os
import sys
from pathlib import Path

import pytest

from benches import gate, prove, suite
from benches.against import BuildError, Pairs, build
from benches.declare import Selection, collect
from benches.result import Row, Run, load, save
from benches.run import Options

ROOT = Path(__file__).resolve().parent.parent
FAST = ["--samples", "20", "--warmup", "2", "--seconds", "2"]
ROWS = ["--only", "arena", "dot", "control"]


def call(capsys, *arguments):
    status = suite.main([str(a) for a in arguments])
    out = capsys.readouterr()
    return status, out.out, out.err


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A result file of three rows, measured once."""
    path = tmp_path_factory.mktemp("suite") / "a.json"
    assert suite.main(["--simd", *FAST, *ROWS, "--out", str(path)]) == 0
    return path


def test_suite_prints_the_table_and_keeps_the_results(capsys, tmp_path):
    status, out, _ = call(capsys, "--simd", *FAST, *ROWS, "--out", tmp_path / "a.json")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100 and "\x1b" not in out
    assert out.splitlines()[0].split()[0] == "benchmark"
    (run,) = load(tmp_path / "a.json")
    assert {row.key for row in run.rows} == {"arena/1024", "dot/f32/384", "control/sha256"}
    assert all(row.allocations in (0, None) for row in run.rows if "/sha" not in row.id)
    assert run.fingerprint["timer_step_ns"] > 0 and run.clock == "wall"


def test_rows_may_be_named_by_more_than_one_only(capsys):
    status, out, _ = call(capsys, "--list", "--only", "arena", "--only", "dot/f32/384")
    keys = {line.split()[0] for line in out.splitlines()}
    assert status == 0 and {"arena/1024", "dot/f32/384"} <= keys
    assert not any(key.startswith("matvec") for key in keys)


def test_suite_json_is_the_result_file(capsys, tmp_path):
    status, out, _ = call(capsys, *FAST, "--only", "arena", "--json", "--out", tmp_path / "a.json")
    assert status == 0 and out == (tmp_path / "a.json").read_text()
    assert json.loads(out)["version"] == 1


def test_list_names_every_component_of_the_suite(capsys):
    status, out, _ = call(capsys, "--list")
    assert status == 0
    keys = {line.split()[0] for line in out.splitlines()}
    wanted = {
        "tokenize/100", "dequantize/q4_0/1x32", "dequantize/q8_0/1x32", "dequantize/q4_0/32x32",
        "dot/f32/384", "matvec/f32/384x384", "matvec/q8_0/384x384", "matvec/q4_0/384x384",
        "layernorm/384", "rmsnorm/384", "softmax/256", "arena/1024", "stream/read/64M",
        "generate/nano/f32", "generate/nano/q8_0", "generate/nano/q4_0", "batch/8",
    }  # fmt: skip
    assert wanted <= keys
    for part in ("kv/append/", "kv/read/", "attention/", "rope/", "swiglu/", "generate/large/"):
        assert any(key.startswith(part) for key in keys), part
    (dot,) = (line for line in out.splitlines() if line.startswith("dot/f32/384"))
    assert dot.split()[1] == "c" and dot.endswith("target 1.00us")


def test_explain_says_formula_limit_and_target(capsys):
    status, out, _ = call(capsys, "--explain", "matvec/q4_0/384x384")
    assert status == 0 and "Limit" in out and "500us" in out and "294,912 flops" in out


MISUSE = {
    "unknown row": ["--only", "nothing/here"],
    "explain unknown": ["--explain", "nothing"],
    "gate without baseline": ["--gate"],
    "record without baseline": ["--record"],
    "baseline missing": ["--gate", "--baseline", "/no/such.json"],
    "export unknown": ["--export", "xml=a.xml"],
    "export without file": ["--export", "csv"],
    "negative samples": ["--samples", "-1"],
    "zero seconds": ["--seconds", "0"],
    "file missing": ["--file", "/no/such.py"],
    "unknown revision": ["--against", "no-such-revision"],
    "page without directory": ["--html", "/no/such/a.html"],
    "plot without directory": ["--plot", "/no/such/a.png"],
    "seconds without end": ["--seconds", "inf"],
    "seconds that are no number": ["--seconds", "nan"],
    "held up by less than nothing": ["--slow", "-1"],
    "one of two patterns unknown": ["--only", "arena", "nothing"],
    "baseline of pairs": ["--against", "HEAD", "--baseline", "a.json"],
    "export without directory": ["--export", "csv=/no/such/a.csv"],
    "history missing": ["--html", "a.html", "--history", "/no/such.json"],
    "page of pairs": ["--against", "HEAD", "--html", "a.html"],
    "compare missing": ["compare", "/no/a.json", "/no/b.json"],
}


@pytest.mark.parametrize("arguments", MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_one_line_and_status_2(capsys, arguments):
    status, out, err = call(capsys, *arguments)
    assert status == 2 and out == ""
    assert err.startswith("benches.suite: ") and err.count("\n") == 1


def test_unknown_option_is_status_2():
    with pytest.raises(SystemExit) as ended:
        suite.main(["--nonsense"])
    assert ended.value.code == 2


def test_compare_of_a_file_with_itself_passes(capsys, measured):
    status, out, _ = call(capsys, "compare", measured, measured)
    assert status == 0 and "same" in out and "slower" not in out


def test_compare_finds_a_slow_row_and_another_machine(capsys, measured, tmp_path):
    (run,) = load(measured)
    slow = [Row(**{**vars(r), "samples": [2 * s for s in r.samples]}) for r in run.rows]
    save(tmp_path / "slow.json", [Run(slow, run.fingerprint)])
    status, out, _ = call(capsys, "compare", measured, tmp_path / "slow.json")
    assert status == 1 and "slower" in out
    save(tmp_path / "other.json", [Run(run.rows, {**run.fingerprint, "cpu": "Z80"})])
    status, out, _ = call(capsys, "compare", measured, tmp_path / "other.json")
    assert status == 4 and "Z80" in out


def test_record_then_gate_and_an_old_file_stays_when_refused(capsys, tmp_path):
    base = tmp_path / "baseline.json"
    # a busy moment may slow all of so few samples by half, not threefold
    common = [
        *FAST,
        "--samples",
        "200",
        "--only",
        "arena",
        "control",
        "--baseline",
        base,
        "--out",
        tmp_path / "a.json",
    ]
    status, out, _ = call(capsys, *common, "--record")
    assert status == 0 and "recorded" in out
    status, out, _ = call(capsys, *common, "--gate", "--slow", "200")
    assert status in (1, 3), out  # never green; on a machine too busy to tell, inconclusive
    base.write_text('{"format": "kernel-llm-bench", "version": 99, "runs": []}')
    before = base.read_bytes()
    status, _, err = call(capsys, *common, "--gate", "--record")
    assert status == 2 and "newer" in err and base.read_bytes() == before


def test_a_row_that_was_slower_once_is_told_and_one_of_the_same_speed_is_not(capsys):
    same = [gate.Verdict("once", gate.SAME, 1.0, 1.0, why="slower once"),
            gate.Verdict("never", gate.SAME, 1.0, 1.0)]  # fmt: skip
    suite.tell(gate.Gate(gate.PASS, "pass", tuple(same)), sys.stdout)
    out = capsys.readouterr().out
    assert "    slower once\n" in out and "never" not in out and out.endswith("\npass\n")


def test_what_cannot_be_gated_is_said_before_anything_is_measured(
    capsys, tmp_path, measured, monkeypatch
):
    monkeypatch.setattr(suite.session, "take", None)
    (run,) = load(measured)
    save(tmp_path / "other.json", [Run(run.rows, {**run.fingerprint, "cores": 999})])
    status, out, _ = call(capsys, "--gate", "--baseline", tmp_path / "other.json")
    assert status == 4 and "cores" in out and max(map(len, out.splitlines())) <= 100
    (tmp_path / "cut.json").write_text(measured.read_text()[:500])
    status, _, err = call(capsys, "--record", "--baseline", tmp_path / "cut.json")
    assert status == 2 and "cut.json" in err


def test_baseline_alone_shows_the_ratios_and_judges_nothing(capsys, measured, tmp_path):
    (run,) = load(measured)
    fast = [Row(**{**vars(r), "samples": [s / 3 for s in r.samples]}) for r in run.rows]
    save(tmp_path / "fast.json", [Run(fast, run.fingerprint)])
    arguments = (*FAST, "--only", "arena", "--baseline", tmp_path / "fast.json", "--out",
                 tmp_path / "a.json")  # fmt: skip
    status, out, _ = call(capsys, *arguments)
    assert status == 0 and "95 % interval" in out and "slower" in out
    status, out, err = call(capsys, *arguments, "--json")
    assert status == 0 and json.loads(out)["runs"] and "slower" in err
    save(tmp_path / "other.json", [Run(run.rows, {**run.fingerprint, "cores": 999})])
    status, out, _ = call(capsys, *arguments, "--baseline", tmp_path / "other.json")
    assert status == 0 and "not comparable" in out and "cores" in out


OWN = """
from benches.declare import benchmark
@benchmark("mine/good")
def good():
    pass
@benchmark("mine/bad", setup=lambda: 0)
def bad(x):
    1 / x
"""


def test_a_look_leaves_out_portable_code_of_whole_models_and_says_so(capsys, tmp_path):
    words = ("--simd", "--only", "dot", "batch/1", "--out", tmp_path / "a.json")
    _, rows, _ = call(capsys, "--list", *words)
    status, out, _ = call(capsys, "--quick", *words)
    measured = {row.id for row in load(tmp_path / "a.json")[0].rows}
    assert status == 0 and "whole models by portable code: --quick leaves them out" in out
    assert {"dot/f32/c/384", "batch/1/c"} & measured == {"dot/f32/c/384"}
    assert len(measured) == 3 and "batch/1 " in rows


def test_a_benchmark_of_ones_own_that_fails_is_named_and_the_others_are_kept(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    out = tmp_path / "a.json"
    words = (*FAST, "--file", tmp_path / "mine.py", "--out", out)
    status, text, _ = call(capsys, *words, "--only", "mine", "arena")
    assert status == 2
    assert "failed: mine/bad: line 8: ZeroDivisionError: division by zero" in text
    assert {row.key for row in load(out)[0].rows} == {"mine/good", "arena/1024"}
    status, text, err = call(capsys, *words, "--only", "mine/bad")
    assert status == 2 and text == "" and err.count("\n") == 1 and "line 8" in err


WRITTEN = [["suite", "--out", "FILE"], ["suite", "--html", "FILE"],
           ["suite", "--plot", "FILE.png"],
           ["suite", "--plot", "FILE.nosuch"], ["suite", "--export", "csv=FILE"],
           ["suite", "--baseline", "FILE", "--record"], ["prove", "--out", "FILE"]]  # fmt: skip
READ = [["suite", "--baseline", "FILE"], ["suite", "--file", "FILE"],
        ["suite", "--history", "FILE"]]  # fmt: skip


@pytest.mark.parametrize("file, words", [
    *itertools.product(["no/such", "folder", "fifo"], WRITTEN),
    *itertools.product(["no/such", "folder"], READ),
], ids=lambda value: value if isinstance(value, str) else " ".join(value))  # fmt: skip
def test_a_file_that_cannot_be_used_is_named_before_anything_is_measured(
    capsys, tmp_path, monkeypatch, file, words
):
    monkeypatch.setattr(suite.session, "take", None)
    monkeypatch.setattr(prove, "repeat", None)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "fifo.png")
    os.mkfifo(tmp_path / "fifo")
    before = sorted(tmp_path.rglob("*"))
    module, *words = [word.replace("FILE", f"{tmp_path}/{file}") for word in words]
    assert {"suite": suite, "prove": prove}[module].main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == error.count(f"{tmp_path}/{file}") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_matplotlib_is_told_before_anything_is_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(suite.session, "take", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, error = call(capsys, "--plot", tmp_path / "a.png", "--only", "arena")
    assert status == 2 and "pip install 'kernel-llm[plot]'" in error and error.count("\n") == 1


def test_a_fault_of_the_suite_is_no_error_of_the_caller(monkeypatch):
    def fail(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(suite, "print_table", fail)
    with pytest.raises(ValueError, match="a bug"):
        suite.main([*FAST, "--only", "arena"])


def test_pairs_of_one_build_agree_and_see_a_slow_down():
    selection = Selection(only=("arena", "tokenize"))
    benches, _ = collect(selection)
    options = Options(warmup=5, samples=30, seconds=10, slow=25, slow_only="arena*")
    pairs = Pairs(ROOT, benches, selection, options, lambda *_: None)
    try:
        base, current = pairs.measure(benches, options)
    finally:
        pairs.close()
    assert pairs.missing == {}
    ratio = min(current.row("arena/1024").values) / min(base.row("arena/1024").values)
    assert 1.15 < ratio < 1.4
    assert [r.loops for r in base.rows] == [r.loops for r in current.rows]


def test_a_revision_that_does_not_exist_is_named():
    with pytest.raises(BuildError, match="no-such-thing"):
        build("no-such-thing")


def test_interrupt_from_the_keyboard_keeps_what_was_measured(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import os, signal\nfrom benches.declare import benchmark\ncalls = []\n"
        "@benchmark('mine/stop', takes_loops=True)\ndef stop(loops):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 300:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    for i in range(loops): pass\n"
    )
    out = tmp_path / "a.json"
    status, text, _ = call(capsys, "--only", "mine", "--file", tmp_path / "mine.py", "--samples",
                           "100000", "--warmup", "0", "--out", out)  # fmt: skip
    assert status == 130 and "interrupted" in text
    (run,) = load(out)
    assert 0 < len(run.rows[0].samples) < 300
