# SPDX-License-Identifier: Apache-2.0
"""The aarch64 build in an emulated userland: kernels, engine and tokenizer, to the bit of here."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benches import gate
from benches.result import load
from conftest import ROOT, needs
from qemu import build, families, sysroot, user
from test_kernels import build_check

pytestmark = needs("aarch64-linux-gnu-gcc", "qemu-aarch64")
CPUS = user.CPUS
# Every family of kernels, engine and tokenizer once, where instructions differ twice; every one on
# every core is `make qemu-full`.
JOBS = (
    (("model", "image"), "cortex-a53"),
    (("tokenizer", "tokenizer_unigram", "tokenizer_stream"), "cortex-a72"),
    (("reference", "model"), "cortex-a76"),
    (("tokenizer_pieces", "tokenizer_file", "tokenizer_check", "tokenizer_pack",
      "tokenizer_special", "tokenizer_buffers"), "cortex-a72"),
    (("reference", "engine_py"), "cortex-a53"),
)  # fmt: skip
MODELS = (("llama", "q4_0"), ("llama", "q4_1"), ("llama", "q8_0"), ("llama", "f16"),
          ("llama", "f32"), ("gpt2", "q8_0"))  # fmt: skip
SIGILL = -4
# What dispatch may use on each core: bits of kllm.h.
NEON, DOTPROD, I8MM = 16, 32, 64
FEATURES = {"cortex-a53": NEON, "cortex-a72": NEON, "cortex-a76": NEON | DOTPROD,
            "max": NEON | DOTPROD | I8MM}  # fmt: skip


@pytest.fixture(scope="module")
def site():
    try:
        sysroot.make_sysroot("arm64")
    except sysroot.NoSysroot as error:
        pytest.skip(str(error))
    return user.site()


def run(command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False,
                          **options)  # fmt: skip


ROUNDS = {**os.environ, "ROUNDS": "25"}


@pytest.fixture(scope="module")
def check_kernels():
    return build_check("check_kernels.c", build.core.targets()["aarch64-linux"], ["-static"])


@pytest.fixture(scope="module")
def host_digests():
    result = run([build_check("check_kernels.c", build.core.host_target())], env=ROUNDS)
    return digests(result.stdout)


def digests(output):
    """Returns the lines of check_kernels that say what each C twin gave."""
    return [line for line in output.splitlines() if " digest " in line]


@pytest.mark.parametrize("cpu", FEATURES)
def test_kernels_give_the_bits_of_their_c_twin_and_of_this_machine(
    check_kernels, host_digests, cpu
):
    result = run(["qemu-aarch64", "-cpu", cpu, check_kernels], env=ROUNDS)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 failed" in result.stdout
    assert len(host_digests) > 20
    assert digests(result.stdout) == host_digests


ABOVE = (("sdot", "dotprod", "cortex-a76", "cortex-a53"), ("smmla", "i8mm", "max", "cortex-a76"))


@pytest.mark.parametrize(("word", "extension", "has", "lacks"), ABOVE)
def test_core_without_an_instruction_traps_it(tmp_path, word, extension, has, lacks):
    source, program = tmp_path / "above.c", tmp_path / "above"
    source.write_text(f'int main(void) {{ __asm__ volatile("{word} v0.4s, v1.16b, v2.16b" ::: '
                      '"v0"); return 0; }\n')  # fmt: skip
    build.core.run(["aarch64-linux-gnu-gcc", "-static", f"-march=armv8.2-a+{extension}", source,
                    "-o", program])  # fmt: skip
    assert run(["qemu-aarch64", "-cpu", has, program]).returncode == 0
    assert run(["qemu-aarch64", "-cpu", lacks, program]).returncode == SIGILL


@pytest.mark.parametrize("cpu", FEATURES)
def test_features_of_a_core_are_found(site, cpu):
    words = ["-c", "from kernel_llm import _native; print(_native.kllm_cpu())"]
    assert int(run([user.interpreter(cpu, site), *words]).stdout) == FEATURES[cpu]


@pytest.fixture(scope="module")
def images(tiny_models):
    return [build.packed(str(tiny_models(arch, dtype))) for arch, dtype in MODELS]


@pytest.fixture(scope="module")
def host_report(images):
    result = run([sys.executable, ROOT / "tests" / "aarch64_report.py", *images],
                 env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("cpu", FEATURES)
def test_engine_and_tokenizer_give_the_bits_of_this_machine(site, images, host_report, cpu):
    script = ROOT / "tests" / "aarch64_report.py"
    result = run([user.interpreter(cpu, site), str(script), *map(str, images)])
    assert result.returncode == 0, result.stderr
    assert result.stdout == host_report


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
def test_smollm2_answers_with_the_tokens_and_logits_of_this_machine(site, smollm2, cpu):
    image = build.packed(str(smollm2))
    script = str(ROOT / "tests" / "aarch64_report.py")
    words = ["--answer", str(image), "The capital of France is"]
    here = run([sys.executable, script, *words], env={**os.environ, "PYTHONPATH": str(ROOT)})
    there = run([user.interpreter(cpu, site), script, *words])
    assert here.returncode == 0, here.stderr
    assert len(here.stdout.splitlines()) == 8
    assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr


QUICK = ("dot/*", "matvec/*", "tokenize/*", "generate/nano/q4_0")


@pytest.mark.long
@pytest.mark.parametrize("cpu", CPUS)
def test_suite_runs_emulated_and_its_gate_refuses_to_judge_that(site, cpu, tmp_path):
    out = tmp_path / "run.json"
    words = [user.interpreter(cpu, site), "-m", "benches.suite", "--simd", "--quick"]
    gated = run([*words, "--baseline", str(ROOT / "baseline.json"), "--gate"])
    assert gated.returncode == gate.NOT_COMPARABLE, gated.stdout + gated.stderr
    assert "not comparable: wall clock under emulation is never gated" in gated.stdout
    result = run([*words, "--only", *QUICK, "--out", str(out)])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "clock: emulated (qemu-aarch64)" in result.stdout
    assert "MISS" not in result.stdout
    assert "not measured: allocations: the compiler here makes" in result.stdout
    (measured,) = load(out)
    assert (measured.clock, measured.fingerprint["cpu"]) == ("emulated", cpu)
    best = "neon_dotprod" if cpu == "cortex-a76" else "neon"
    assert f"matvec/q4_0/{best}/384x384" in {row.id for row in measured.rows}


@pytest.fixture(scope="module")
def outcomes(site):
    try:
        families.fetch(site)
    except sysroot.NoSysroot as error:
        pytest.skip(str(error))
    return {outcome[:2]: outcome for outcome in families.run_all(JOBS, site)}


@pytest.mark.long
@pytest.mark.parametrize(
    ("names", "cpu"), JOBS, ids=lambda v: v if isinstance(v, str) else "-".join(v)
)
def test_families_pass_in_the_emulated_interpreter(outcomes, names, cpu):
    outcome = outcomes[names, cpu]
    assert outcome.is_good, outcome.output[-6000:]
    assert "passed" in outcome.line


@pytest.fixture(scope="module")
def wheel():
    import cross

    return cross.build_wheel(build.core.targets()["aarch64-linux"])


def test_wheel_is_tagged_with_the_glibc_its_symbols_need(wheel, tmp_path):
    import cross

    with zipfile.ZipFile(wheel) as archive:
        extension = archive.extract("kernel_llm/_kllm.abi3.so", tmp_path)
    assert Path(extension).read_bytes()[18:20] == b"\xb7\0"  # EM_AARCH64
    listing = run(["aarch64-linux-gnu-objdump", "-T", extension]).stdout
    needed = {tuple(map(int, word.strip("()").removeprefix("GLIBC_").split(".")))
              for word in listing.split() if word.strip("()").startswith("GLIBC_")}  # fmt: skip
    major, minor = cross.glibc_of(extension)
    assert max(needed) == (major, minor)
    assert wheel.name.endswith(f"-cp310-abi3-manylinux_{major}_{minor}_aarch64.whl")


def test_wheel_carries_nothing_for_debuggers(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        extension = archive.extract("kernel_llm/_kllm.abi3.so", tmp_path)
    sections = run(["aarch64-linux-gnu-readelf", "-SW", extension]).stdout
    assert ".text" in sections and ".debug" not in sections


ANSWER = """
import kernel_llm
from kernel_llm.builtin import builtin_path
with kernel_llm.open(builtin_path(), n_ctx=128) as model:
    print(model.engine, "".join(model.generate("ROMEO.", n_token=32, temperature=0.8, seed=3)))
"""


def install(wheel, folder, platform):
    return run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
                "--no-deps", "--no-index", "--only-binary=:all:", "--platform", platform,
                "--python-version", "3.13", "--target", folder, wheel])  # fmt: skip


def test_wheel_installs_and_answers_as_this_machine_does(wheel, site, tmp_path):
    (tag,) = re.findall(r"manylinux_\d+_\d+_aarch64", wheel.name)
    done = install(wheel, tmp_path / "installed", tag)
    assert done.returncode == 0, done.stderr
    program = user.interpreter("cortex-a76", tmp_path / "installed")
    there = run([program, "-c", ANSWER])
    here = run([sys.executable, "-c", ANSWER], cwd=ROOT)
    assert here.stdout.startswith("native ")
    assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr


def test_wheel_is_refused_where_glibc_is_older(wheel, tmp_path):
    done = install(wheel, tmp_path / "installed", "manylinux_2_17_aarch64")
    assert done.returncode == 1
    assert "is not a supported wheel on this platform" in done.stderr
