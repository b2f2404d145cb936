# SPDX-License-Identifier: Apache-2.0
"""Exports against the schemas of the tools they are for, and the page and plot for people."""

import csv
import io
import json
import re

import jsonschema
import pytest

from benches import export, page, plot
from benches.result import Row, Run
from benches.session import Report

FINGERPRINT = {"clock": "wall", "cpu": "<A & B>", "arch": "x", "cores": 2, "board": None,
               "governor": "performance", "timer_step_ns": 40, "kernel": "6", "python": "3",
               "freq_max_khz": 1000000}  # fmt: skip
RUN = Run(
    [
        Row("dot/f32/c/384", tuple(range(1000, 1100)), loops=10, key="dot/f32/384", level="scalar",
            seconds_target=1e-6, work={"flop": 768, "byte": 3072, "foot": 3072}),
        Row("dot/f32/avx2/384", tuple(range(200, 300)), loops=10, key="dot/f32/384", level="simd",
            seconds_target=1e-6, work={"flop": 768, "byte": 3072, "foot": 3072}, allocations=0.0),
        Row("image/bytes", (123456,), unit="byte"),
        Row("arena", (0, 1), level="scalar"),
        Row("nothing", ()),
    ],
    FINGERPRINT, {"before": {"load": [0.5]}}, "2026-01-01T00:00:00Z",
)  # fmt: skip

NUMBER = {"type": "number"}
TEXT = {"type": "string"}
# Bencher Metric Format, https://bencher.dev/docs/reference/bencher-metric-format/
BMF = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "type": "object",
            "required": ["value"],
            "properties": {"value": NUMBER, "lower_value": NUMBER, "upper_value": NUMBER},
            "additionalProperties": False,
        },
    },
}
# custom tools of github-action-benchmark, its README
GITHUB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "properties": {"name": TEXT, "unit": TEXT, "value": NUMBER, "range": TEXT, "extra": TEXT},
        "additionalProperties": False,
    },
}
# what compare.py of Google Benchmark reads
GOOGLE = {
    "type": "object",
    "required": ["context", "benchmarks"],
    "properties": {
        "context": {"type": "object", "required": ["num_cpus", "cpu_scaling_enabled"]},
        "benchmarks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "run_type", "iterations", "real_time", "cpu_time",
                             "time_unit", "repetition_index", "repetitions", "threads"],
                "properties": {"real_time": NUMBER, "time_unit": {"enum": ["ns"]}},
            },
        },
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "schema"), [("bencher", BMF), ("github", GITHUB), ("google", GOOGLE)]
)
def test_export_follows_the_schema(form, schema):
    jsonschema.validate(json.loads(export.FORMATS[form](RUN)), schema)


def test_bencher_gives_the_median_in_nanoseconds_with_its_interval():
    found = json.loads(export.bencher(RUN))["dot/f32/c/384"]["latency"]
    assert found["value"] == pytest.approx(104.95)
    assert found["lower_value"] < found["value"] < found["upper_value"]
    assert json.loads(export.bencher(RUN))["image/bytes"]["file-size"]["value"] == 123456


def test_google_has_one_entry_for_each_sample():
    entries = json.loads(export.google(RUN))["benchmarks"]
    dot = [e for e in entries if e["name"] == "dot/f32/c/384"]
    assert len(dot) == 100 and dot[0]["real_time"] == pytest.approx(100.0)


def test_pyperf_reads_its_export_and_compares_it(tmp_path):
    pyperf = pytest.importorskip("pyperf")
    path = tmp_path / "p.json"
    export.write("pyperf", path, Report(RUN))
    loaded = pyperf.BenchmarkSuite.load(str(path))
    bench = loaded.get_benchmark("dot/f32/c/384")
    assert bench.median() == pytest.approx(104.95e-9) and bench.get_nvalue() == 100


def test_csv_has_every_row_and_field():
    rows = list(csv.DictReader(io.StringIO(export.as_csv(RUN))))
    assert [row["id"] for row in rows] == [row.id for row in RUN.rows]
    assert float(rows[0]["median"]) == pytest.approx(104.95e-9)
    assert rows[4]["median"] == "" and rows[4]["n"] == "0"


def test_markdown_is_a_table_of_equal_columns():
    lines = export.markdown(RUN).splitlines()
    assert {line.count("|") for line in lines} == {8}
    assert "| dot/f32/384 | 105ns | 24.9ns | 4.2 |" in lines[2]


def test_page_is_self_contained_and_holds_the_results(tmp_path):
    path = tmp_path / "r.html"
    page.write(path, Report(RUN, reasons={"energy": "none"}), [RUN, RUN])
    text = path.read_text()
    assert not re.search(r"(src|href)\s*=\s*['\"]?(?!data:)[a-z]+:?//", text)
    assert "<A & B>" not in text and "&lt;A &amp; B&gt;" in text
    raw = re.search(r"<script type=application/json id=results>(.*?)</script>", text, re.DOTALL)
    assert len(json.loads(raw[1])["runs"][0]["rows"]) == len(RUN.rows)
    assert text.count("aria-label=histogram ") == text.count("aria-label=history>") == 3


def test_page_cannot_be_broken_by_names(tmp_path):
    evil = "</script><script>alert(1)</script>"
    page.write(tmp_path / "r.html", Report(Run([Row(evil, (1,))], FINGERPRINT)))
    text = (tmp_path / "r.html").read_text()
    assert "alert(1)</script>" not in text.replace("&lt;/script&gt;", "")


def test_plot_draws_a_file(tmp_path):
    pytest.importorskip("matplotlib")
    plot.plot(tmp_path / "r.svg", RUN, [RUN, RUN])
    text = (tmp_path / "r.svg").read_text()
    assert text.startswith("<?xml") and len(text) > 10_000
