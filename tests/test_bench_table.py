# SPDX-License-Identifier: Apache-2.0
"""The table of a run: levels joined, targets judged, figures of three digits."""

import pytest

from benches import table
from benches.result import Row, Run
from benches.session import Report


def made_report():
    rows = [
        Row("mine/c", (2000,) * 5, key="mine", level="scalar", work={"flop": 100, "byte": 400,
            "foot": 400}, seconds_target=1e-6),
        Row("mine/avx2", (500,) * 5, key="mine", level="simd", work={"flop": 100, "byte": 400,
            "foot": 400}, seconds_target=1e-6),
        Row("late", (2000,) * 5, level="scalar", seconds_target=1e-6),
        Row("stream/read/4K", (1000,) * 5, work={"byte": 1600, "foot": 4096}),
    ]  # fmt: skip
    fingerprint = {"clock": "wall", "cpu": "A", "arch": "x", "cores": 1, "board": None,
                   "governor": None, "timer_step_ns": 1}  # fmt: skip
    return Report(Run(rows, fingerprint), reasons={})


def test_table_joins_levels_and_judges_the_best():
    lines = {line.key: line for line in table.lines(made_report().run)}
    mine = lines["mine"]
    assert (mine.gain, mine.verdict, lines["late"].verdict) == (4.0, "pass", "MISS")
    # 400 bytes in 500 ns are 0.8 GB/s, half of what the stream row reads
    assert mine.limit == pytest.approx(0.5) and table.rate(mine.best) == "0.20 GF/s"


@pytest.mark.parametrize(("seconds", "text"), [
    (1.5e-9, "1.50ns"), (0.0, "0.00ns"), (999e-9, "999ns"), (1e-6, "1.00us"), (12.34e-6, "12.3us"),
    (0.5, "500ms"), (2.0, "2.00s "), (None, ""),
])  # fmt: skip
def test_quantity_has_three_digits(seconds, text):
    assert table.quantity(seconds) == text
