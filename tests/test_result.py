# SPDX-License-Identifier: Apache-2.0
"""Result files: what is written comes back, and what is not understood is refused untouched."""

import json
import os

import pytest

from benches.result import (
    FORMAT,
    N_BASELINE,
    VERSION,
    ResultError,
    Row,
    Run,
    baseline_of,
    differing,
    load,
    record,
    save,
    thinned,
)

MACHINE = {"clock": "wall", "arch": "x86_64", "cpu": "A", "cores": 2}


def make_run(machine=MACHINE, **rows):
    return Run([Row(i, samples, loops=4) for i, samples in rows.items()], machine)


def test_result_comes_back_as_written(tmp_path):
    row = Row("dot/f32/c/384", (100, 200), loops=7, key="dot/f32/384", level="scalar", n_warmup=3,
              work={"flop": 768, "item": 1, "item_name": "token"}, seconds_target=1e-6,
              allocations=0.0, counters={"cycles": 12.5}, model_hash="ab", note="x")  # fmt: skip
    run = Run([row], MACHINE, {"load": [1.0]}, "2026-01-01T00:00:00Z")
    save(tmp_path / "r.json", [run])
    assert load(tmp_path / "r.json") == [run]
    json.loads((tmp_path / "r.json").read_text())


def test_row_values_are_seconds_of_one_operation():
    assert Row("a", (1000, 3000), loops=4).values == pytest.approx([250e-9, 750e-9], rel=1e-15)
    assert Row("a", (1024,), unit="byte").values == [1024]


BAD_ROWS = {
    "empty id": {"id": "", "samples": []},
    "loops 0": {"id": "a", "samples": [], "loops": 0},
    "loops text": {"id": "a", "samples": [], "loops": "4"},
    "loops true": {"id": "a", "samples": [], "loops": True},
    "unknown unit": {"id": "a", "samples": [], "unit": "hour"},
    "negative sample": {"id": "a", "samples": [-1]},
    "text sample": {"id": "a", "samples": ["1"]},
    "NaN sample": {"id": "a", "samples": [float("nan")]},
    "infinite sample": {"id": "a", "samples": [float("inf")]},
    "samples a number": {"id": "a", "samples": 5},
    "work a list": {"id": "a", "samples": [], "work": []},
    "work negative": {"id": "a", "samples": [], "work": {"flop": -1}},
    "target text": {"id": "a", "samples": [], "seconds_target": "1"},
}


@pytest.mark.parametrize("fields", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_row_refuses_what_makes_no_sense(fields):
    with pytest.raises(ValueError):
        Row(**fields)


def test_run_refuses_a_row_given_twice_and_an_unknown_clock():
    with pytest.raises(ValueError, match="twice"):
        Run([Row("a", ()), Row("a", ())], MACHINE)
    with pytest.raises(ValueError, match="clock"):
        Run([], {"clock": "sundial"})


def good_data():
    row = {"id": "a", "samples": [1, 2]}
    return {
        "format": FORMAT,
        "version": VERSION,
        "runs": [{"fingerprint": MACHINE, "rows": [row]}],
    }


def damaged(change):
    data = good_data()
    change(data)
    return json.dumps(data)


BAD_FILES = {
    "empty": ("", "not JSON"),
    "half": (json.dumps(good_data())[:40], "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "list": ("[]", "not a result file"),
    "other format": (damaged(lambda d: d.update(format="pyperf")), "not a result file"),
    "newer": (damaged(lambda d: d.update(version=VERSION + 1)), "newer"),
    "version text": (damaged(lambda d: d.update(version="1")), "version"),
    "version true": (damaged(lambda d: d.update(version=True)), "version"),
    "version 0": (damaged(lambda d: d.update(version=0)), "version"),
    "runs missing": (damaged(lambda d: d.pop("runs")), "runs"),
    "run a number": (damaged(lambda d: d.update(runs=[5])), "damaged"),
    "rows missing": (damaged(lambda d: d["runs"][0].pop("rows")), "rows"),
    "row a number": (damaged(lambda d: d["runs"][0].update(rows=[5])), "rows"),
    "no clock": (damaged(lambda d: d["runs"][0].update(fingerprint={})), "clock"),
    "no fingerprint": (damaged(lambda d: d["runs"][0].pop("fingerprint")), "damaged"),
    "field unknown": (
        damaged(lambda d: d["runs"][0]["rows"][0].update(x=1)),
        "no field is called 'x'",
    ),
    "samples missing": (damaged(lambda d: d["runs"][0]["rows"][0].pop("samples")), "samples"),
    "id missing": (damaged(lambda d: d["runs"][0]["rows"][0].pop("id")), "id"),
    "samples text": (damaged(lambda d: d["runs"][0]["rows"][0].update(samples="12")), "samples"),
}


@pytest.mark.parametrize(("text", "why"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_load_refuses_in_one_line_and_leaves_the_file(tmp_path, text, why):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=why) as refused:
        load(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(ResultError):
        record(path, make_run(a=[1]))
    assert path.read_text() == text and os.listdir(tmp_path) == ["r.json"]


def test_load_refuses_bytes_that_are_no_text_and_a_missing_file(tmp_path):
    (tmp_path / "r.json").write_bytes(b"\xff\xfe\x00")
    for name in ("r.json", "none.json", "."):
        with pytest.raises(ResultError, match="cannot be read"):
            load(tmp_path / name)


def test_save_leaves_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    save(path, [make_run(a=[1])])
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, [make_run(b=[2])])
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["r.json"]


def test_save_names_a_directory_that_does_not_exist(tmp_path):
    with pytest.raises(OSError, match=r"no.r\.json"):
        save(tmp_path / "no" / "r.json", [])


def test_record_keeps_other_machines_and_rows_not_measured(tmp_path):
    path = tmp_path / "baseline.json"
    other = {**MACHINE, "cpu": "B"}
    record(path, make_run(other, a=[5]))
    record(path, make_run(a=[1], b=[2]))
    record(path, make_run(b=[9]))
    first, second = load(path)
    assert first == make_run(other, a=[5])
    assert {row.id: row.samples for row in second.rows} == {"a": (1,), "b": (9,)}


def test_record_keeps_extremes_and_median_of_many_samples():
    row = thinned(Row("a", tuple(range(1, 1002))))
    assert len(row.samples) == N_BASELINE
    assert (min(row.samples), max(row.samples), row.summary.median) == (
        1,
        1001,
        pytest.approx(501e-9),
    )
    assert thinned(Row("a", tuple(range(50)))).samples == tuple(range(50))


def test_runs_differ_by_machine_and_clock_not_by_revision():
    a = make_run({**MACHINE, "revision": "1", "kernel": "6.1"})
    assert differing(a, make_run({**MACHINE, "revision": "2"})) == []
    assert differing(a, make_run({**MACHINE, "cores": 4})) == ["cores"]
    assert differing(a, make_run({**MACHINE, "clock": "insn"})) == ["clock"]


def test_instruction_counts_compare_across_machines():
    a = make_run({"clock": "insn", "arch": "aarch64", "cpu": "A"})
    b = make_run({"clock": "insn", "arch": "aarch64", "cpu": "B"})
    assert differing(a, b) == []


def test_baseline_of_names_the_fields_of_the_nearest_machine():
    runs = [make_run({**MACHINE, "cpu": "B", "cores": 8}), make_run({**MACHINE, "cpu": "B"})]
    assert baseline_of(runs, make_run()) == (None, ["cpu"])
    assert baseline_of([], make_run()) == (None, [])
