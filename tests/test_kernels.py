# SPDX-License-Identifier: Apache-2.0
"""Every kernel variant of this machine against its C twin, to the bit; exp against double."""

import os
import subprocess
from pathlib import Path

import pytest

import build
import kernels_table
from conftest import ROOT

C_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-ffp-contract=off", "-fno-strict-aliasing",
           "-Wall", "-Wextra", "-Werror"]  # fmt: skip


def build_check(source, target, flags=()):
    """Compiles a check of tests/native against a target's archive; returns the program's path."""
    archive = build.build_archive(target)
    program = target.build_dir / Path(source).stem
    path = ROOT / "tests" / "native" / source
    if build.is_stale(program, [path, archive, *path.parent.glob("*.h")]):
        build.run([target.cc, *C_FLAGS, *target.flags, *flags, f"-I{build.NATIVE / 'include'}",
                   path, archive, "-lm", "-pthread", "-o", program])  # fmt: skip
    return program


def run_check(command, **env):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                            env={**os.environ, **env})  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def host():
    return build.host_target()


def test_kernel_variants_agree_with_their_c_twin(host):
    out = run_check([build_check("check_kernels.c", host)])
    assert " 0 failed" in out


def test_exp_error_is_what_libm_states(host):
    run_check([build_check("check_exp.c", host)])


def test_document_lists_the_manifest():
    document = kernels_table.DOCUMENT.read_text()
    assert kernels_table.fresh_document(document, kernels_table.MANIFEST.read_text()) == document
