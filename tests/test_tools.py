# SPDX-License-Identifier: Apache-2.0
"""What is said, in one line, where a compiler, an emulator or a userland cannot be had."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import ROOT
from qemu import build, sysroot, tools


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    """A user who may not install anything, on a machine without any program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KLLM_SYSROOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KLLM_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize("program", tools.PACKAGES)
def test_missing_program_is_named_in_one_line(nothing_installed, capsys, program):
    with pytest.raises(SystemExit) as stop:
        tools.require(program)
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert told.count("\n") == 1
    assert told.startswith(f"missing: {program}; type:  sudo apt-get install -y ")
    assert all(package in told for package in tools.PACKAGES[program])


def test_missing_program_is_installed_where_that_is_allowed(
    nothing_installed, monkeypatch, tmp_path
):
    log, installer, program = (tmp_path / n for n in ("log", "apt-get", "qemu-aarch64"))
    installer.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" >> {log}\n'
                         f"touch {program}; chmod +x {program}\n")  # fmt: skip
    installer.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tools.require("qemu-aarch64")
    assert "install -y -qq --no-install-recommends qemu-user" in log.read_text()


def test_missing_compiler_is_named_in_one_line():
    environment = {**os.environ, "CC": "no-such-compiler"}
    done = subprocess.run([sys.executable, "native", "shared"], cwd=ROOT, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("native: no compiler no-such-compiler; type:  "
                           "sudo apt-get install -y gcc libc6-dev\n")  # fmt: skip


def test_programs_that_are_there_are_not_asked_for(capsys):
    tools.require()
    assert capsys.readouterr().err == ""


def test_userland_without_apt_is_refused_in_one_line(nothing_installed):
    with pytest.raises(sysroot.NoSysroot, match=r"^no apt-get here: set KLLM_DEBIAN_MIRROR") as no:
        sysroot.make_sysroot("arm64")
    assert "\n" not in str(no.value)


def test_userland_of_an_unreachable_mirror_is_refused_and_leaves_nothing(tmp_path):
    keys = tmp_path / "keys.gpg"
    keys.touch()
    environment = {**os.environ, "KLLM_SYSROOT_CACHE": str(tmp_path / "cache"),
                   "KLLM_DEBIAN_MIRROR": f"file:{tmp_path}/none",
                   "KLLM_DEBIAN_KEYRING": str(keys)}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "qemu.sysroot"], env=environment, cwd=ROOT,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr.startswith("qemu.sysroot: apt-get update: ") and done.stderr.count("\n") == 1
    )
    left = [path.name for path in (tmp_path / "cache" / "kernel-llm").iterdir()]
    assert left == [".lock"]


def test_userland_wanted_by_two_at_once_is_made_once(tmp_path, monkeypatch):
    made = []

    def make(folder, *_):
        made.append(folder)
        time.sleep(0.2)
        folder.mkdir()

    monkeypatch.setenv("KLLM_SYSROOT_CACHE", str(tmp_path))
    monkeypatch.setattr(sysroot, "mirror", lambda: ("", ""))
    monkeypatch.setattr(sysroot, "_make", make)
    with ThreadPoolExecutor() as pool:
        folders = list(pool.map(sysroot.make_sysroot, ["arm64"] * 2))
    assert made == folders[:1] and folders[0] == folders[1]


# What loads the core, and what would have to, if its modules did so when they are imported.
WORDS = [
    "kernel_llm plan", "tokenizer count README.md", "benches.suite --list", "benches.peers --list",
    "qemu.run --cpu nosuch", "qemu.mix --nosuch", "qemu.peer --nosuch", "benches.prove --nosuch",
]  # fmt: skip


def tree_without(folder, left_out):
    """Links the packages of this tree, without a file of kernel_llm, into a folder."""
    for path in ROOT.iterdir():
        if path.name in ("arena", "benches", "native", "qemu", "tokenizer", "README.md"):
            (folder / path.name).symlink_to(path)
    (folder / "kernel_llm").mkdir()
    for path in (ROOT / "kernel_llm").iterdir():
        if path.name != left_out:
            (folder / "kernel_llm" / path.name).symlink_to(path)


def check_one_line(words, folder):
    found = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True,
                           text=True, timeout=120)  # fmt: skip
    assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
    assert "nosuch" in found.stderr or "run `make all`" in found.stderr


@pytest.mark.parametrize("words", WORDS)
def test_a_core_of_another_version_is_one_line_that_says_what_to_do(tmp_path, words):
    tree_without(tmp_path, "_abi.py")
    text = (ROOT / "kernel_llm" / "_abi.py").read_text()
    other = text.replace("ABI_VERSION = const(", "ABI_VERSION = const(1 + ")
    (tmp_path / "kernel_llm" / "_abi.py").write_text(other)
    check_one_line(words.split(), tmp_path)


# What Python's own engine cannot stand in for.
NEED_CORE = ["benches.suite --list", "benches.peers --list", "benches.prove --repeat 1"]


@pytest.mark.parametrize("words", NEED_CORE)
def test_a_core_that_is_not_built_is_one_line_that_says_what_to_do(tmp_path, words):
    tree_without(tmp_path, "_kllm.abi3.so")
    # An installation of this tree would find the one that is left out.
    (tmp_path / "kernel_llm" / "_kllm.py").write_text("raise ModuleNotFoundError('no _kllm')\n")
    check_one_line(words.split(), tmp_path)


def test_an_arena_is_never_planned_by_the_python_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "kernel_llm._native_cffi", None)
    monkeypatch.delattr("kernel_llm._native_cffi", raising=False)
    with pytest.raises(ImportError):
        build.arena_bytes("any", 64)


MISUSE = {
    "no tokens": ["qemu.run", "--tokens", "0"],
    "memory below 0": ["qemu.run", "--ram", "-1"],
    "no prompt": ["qemu.run", "--prompt", ""],
    "no tokens to count": ["qemu.mix", "--tokens", "0"],
    "no prompt to count": ["qemu.mix", "--prompt", ""],
    "context below 0": ["qemu.build", "selftest", "--ctx", "-1"],
    "no such family": ["qemu.families", "nosuch"],
}


@pytest.mark.parametrize("words", MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_one_line_and_status_2(words):
    found = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True,
                           text=True, timeout=120)  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.stderr


def test_program_that_the_userland_lacks_is_named(tmp_path):
    with pytest.raises(sysroot.NoSysroot, match="no program nosuch"):
        sysroot.command_line(tmp_path, ["nosuch"])
