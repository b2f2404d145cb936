"""The examples of README.md and docs/using.md do what the pages say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

PAGES = ("README.md", "docs/using.md")


def blocks(page, language):
    """Returns the code blocks of a language on a page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)


def run(words, folder=ROOT, **options):
    found = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=300, **options
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return found.stdout


PYTHON = [(page, i) for page in PAGES for i in range(len(blocks(page, "python")))]


@pytest.mark.parametrize("page, i", PYTHON)
def test_a_python_example_runs(page, i, request):
    code = blocks(page, "python")[i]
    if "smollm2" in code:
        request.getfixturevalue("smollm2")
    assert len(run([sys.executable, "-c", code])) > 100


def test_the_commands_of_the_readme_run(smollm2):
    commands = re.findall(r"^\.venv/bin/python (-m kernel_llm .*)$",
                          (ROOT / "README.md").read_text(), re.M)  # fmt: skip
    assert len(commands) >= 2
    for command in commands:
        assert run(f"{sys.executable} {command}", shell=True).strip()


def test_the_c_example_prints_what_the_command_line_prints(tmp_path):
    """As the page says it, in a folder that looks like this one."""
    (program,) = blocks("docs/using.md", "c")
    (commands,) = blocks("docs/using.md", "sh")
    for name in ("native", "kernel_llm", "arena", "tokenizer", "build"):
        os.symlink(ROOT / name, tmp_path / name)
    (tmp_path / "main.c").write_text(program)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    output = run(["sh", "-e", "-c", commands], tmp_path, env=env)
    text = (ROOT / "docs" / "using.md").read_text()
    words = re.search(r"`python (-m kernel_llm generate -p .*?)` prints", text)[1]
    assert output.endswith(run(f"{sys.executable} {words}", shell=True))
    assert len(output) > 60
