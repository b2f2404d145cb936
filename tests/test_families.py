"""Families in an emulated interpreter, started and ended; a shell script stands for it here."""

import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from qemu import families, user

# Starts two runs and what those start in turn, each of which says its number in a file.
SCRIPT = """
import sys
from kernel_llm.terminal import run_command
from qemu import families, user

user.interpreter = lambda cpu, folder: folder + "/program"
jobs = [(("image",), "a"), (("image",), "b"), (("image",), "c"), (("image",), "d")]
sys.exit(run_command("x", lambda: len(list(families.run_all(jobs, sys.argv[1])))))
"""


@pytest.fixture
def program(tmp_path):
    """Returns a function that writes what runs in place of the interpreter."""

    def write(text):
        path = tmp_path / "program"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    return write


def alive(folder):
    """Returns which of the processes that wrote their numbers into a folder are still there."""
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return [n for n in numbers if os.path.exists(f"/proc/{n}")]


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_parent_alone_ends_all_it_started(program, tmp_path, number, status):
    program(f"sleep 600 & touch {tmp_path}/$! {tmp_path}/$$\nwait\n")
    n_process = 2 * min(4, os.cpu_count())
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path], cwd=ROOT,
                              stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    while len(alive(tmp_path)) < n_process:
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(number)
    assert parent.wait() == status
    deadline = time.monotonic() + 10  # the children of the killed are init's to reap
    while alive(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive(tmp_path) == []


def test_every_run_is_told_with_its_last_line(program, tmp_path, monkeypatch):
    monkeypatch.setattr(user, "interpreter", lambda cpu, folder: f"{folder}/program")
    program('case "$*" in *test_image.py) echo "== 3 passed in 1 s =="; exit 0;;\n'
            '*test_quant.py) echo "1 failed, 2 passed"; echo; exit 1;; esac\n')  # fmt: skip
    jobs = [((name,), "cortex-a53") for name in ("image", "quant", "model")]
    outcomes = {o.names[0]: (o.is_good, o.line) for o in families.run_all(jobs, tmp_path)}
    assert outcomes == {"image": (True, "3 passed in 1 s"), "quant": (False, "1 failed, 2 passed"),
                        "model": (True, "no test ran")}  # fmt: skip


def test_the_end_says_what_failed_and_why_tests_were_left_out(capsys):
    skip = "SKIPPED [%d] tests/test_%s.py:%d: no such data\n"
    outcomes = [
        families.Outcome(("image",), "cortex-a53", True, "3 passed, 2 skipped in 1 s",
                         skip % (2, "image", 7)),
        families.Outcome(("quant",), "cortex-a72", False, "1 failed", "assert 1 == 2\n"
                         + skip % (1, "quant", 9)),
    ]  # fmt: skip
    assert families.report(outcomes, 2) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=3) == ["1/2", "cortex-a53", "image", outcomes[0].line]
    assert "assert 1 == 2" in lines
    assert lines[-2:] == ["skipped 3: no such data",
                          "2 runs in 0 min: 1 failed: cortex-a72 quant"]  # fmt: skip
    assert families.report(outcomes[:1], 1) == 0
    assert capsys.readouterr().out.endswith("1 runs in 0 min: all passed\n")
