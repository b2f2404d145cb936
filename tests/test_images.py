# SPDX-License-Identifier: Apache-2.0
"""The bare-metal images: what they are made of, and what they do on an emulated board."""

import shutil
import struct
import subprocess
import sys

import pytest

from benches import gate
from benches.result import ResultError
from conftest import ROOT, needs
from qemu import board, build, counts, elf, run, sysroot

pytestmark = needs("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objdump", "qemu-system-aarch64")
IMAGES = sorted(build.IMAGES)
CPUS = board.CPUS


@pytest.fixture(scope="module")
def tiny():
    return build.tiny_model()


@pytest.fixture(scope="module")
def images(tiny):
    return {image: build.link(image, tiny) for image in IMAGES}


def test_results_that_could_not_be_written_are_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "link", None)
    for words in (["--json", f"{tmp_path}/no/such"], ["--baseline", f"{tmp_path}/none", "--gate"]):
        monkeypatch.setattr(sys, "argv", ["run", *words])
        with pytest.raises((OSError, ResultError), match=str(tmp_path)):
            run.main()


@pytest.mark.parametrize("image", IMAGES)
def test_image_has_no_undefined_symbol_and_no_allocator(images, image):
    symbols = elf.symbols(images[image])
    assert [name for name, is_defined in symbols.items() if not is_defined] == []
    assert set(symbols) & set(elf.ALLOCATORS) == set()


@pytest.mark.parametrize("image", IMAGES)
def test_image_holds_no_instruction_above_the_floor(images, image):
    assert elf.above_floor(images[image]) == []


def test_floor_check_finds_an_instruction_above_it(tmp_path):
    source, obj = tmp_path / "sdot.s", tmp_path / "sdot.o"
    source.write_text("add v0.4s, v1.4s, v2.4s\nsdot v0.4s, v1.16b, v2.4b[1]\n")
    build.core.run(["aarch64-linux-gnu-as", "-march=armv8.2-a+dotprod", source, "-o", obj])
    assert elf.above_floor(obj) == ["sdot\tv0.4s, v1.16b, v2.4b[1]"]


@pytest.mark.parametrize("image", IMAGES)
def test_sections_lie_in_the_segments_they_belong_to(images, image):
    executable, read, write = 1, 4, 2
    by_section = {name: flags for flags, names in elf.segments(images[image]) for name in names}
    assert by_section[".text"] == executable | read
    assert by_section[".rodata"] == read
    assert by_section[".model"] == read
    assert by_section[".bss"] == read | write


@pytest.mark.parametrize("image", sorted(counts.ENTRIES))
def test_worst_stack_fits_a_quarter_of_what_there_is(images, image):
    n_bytes, chain = elf.worst_stack(elf.graph_files(images[image]), "image_main")
    assert 0 < n_bytes <= 65536 // 4, chain


def test_recursion_is_found(tmp_path):
    source = tmp_path / "loop.c"
    source.write_text("int b(int); int a(int n) { return n ? b(n - 1) + 1 : 0; }\n"
                      "__attribute__((noinline)) int b(int n) { return a(n) * 2; }\n")  # fmt: skip
    obj = tmp_path / "loop.o"
    build.core.run(["aarch64-linux-gnu-gcc", "-O1", "-fno-inline", "-fcallgraph-info=su", "-c",
                    source, "-o", obj])  # fmt: skip
    with pytest.raises(elf.Recursion, match="a -> b -> a"):
        elf.worst_stack([tmp_path / "loop.ci"], "a")


@pytest.mark.parametrize("cpu", CPUS)
def test_selftest_passes(images, cpu):
    status, output = board.run_elf(images["selftest"], cpu)
    assert status == 0, output.decode()


@pytest.mark.parametrize("cpu", CPUS)
def test_generate_prints_the_text_and_logits_of_the_host(tiny, cpu):
    assert run.check_generate(tiny, cpu, build.RAM_MIB, 12, board.PROMPT) == ""


def test_counts_are_equal_on_every_run_and_core(tiny):
    first = run.count(tiny, CPUS[0], build.RAM_MIB)
    assert first == run.count(tiny, CPUS[1], build.RAM_MIB)
    assert first["dot/f32/neon/384"] < first["dot/f32/c/384"] / 4
    components = {name.split("/")[0] for name in first}
    assert {"tokenizer", "dequantize", "dot", "matvec", "layernorm", "attention", "kv", "arena",
            "model"} <= components  # fmt: skip


def test_counts_above_the_floor_are_of_faster_kernels(tiny):
    found = {cpu: run.count(tiny, cpu, build.RAM_MIB) for cpu in (CPUS[0], *run.ABOVE)}
    floor, sdot, smmla = found.values()
    for name, n in sdot.items():
        twin = name.replace("neon_dotprod", "neon")
        assert n < floor[twin], name
    for dtype in ("q4_0", "q4_1", "q8_0"):
        row = f"matmul/{dtype}/neon_%s/384x384x16"
        assert smmla[row % "i8mm"] < sdot[row % "dotprod"]
    assert set(floor).isdisjoint(sdot) and set(sdot).isdisjoint(smmla)


@pytest.mark.parametrize(("cpu", "word"), [("cortex-a76", "sdot"), ("max", "smmla")])
def test_image_above_the_floor_faults_on_a_core_without_its_instructions(tiny, cpu, word):
    path = build.link("bench", tiny, isa=run.ABOVE[cpu])
    assert any(line.startswith(word) for line in elf.above_floor(path))
    status, output = board.run_elf(path, CPUS[0], is_counted=True)
    assert status == 3
    assert b"fault" in output


@pytest.fixture(scope="module")
def debian_qemu():
    try:
        return sysroot.debian_qemu()
    except sysroot.NoSysroot as error:
        pytest.skip(str(error))


@pytest.mark.long
def test_counts_are_those_of_another_version_of_qemu(tiny, debian_qemu):
    version = subprocess.run([*debian_qemu, "--version"], capture_output=True, text=True).stdout
    assert version.startswith("QEMU emulator version 10."), version
    here = run.count(tiny, CPUS[0], build.RAM_MIB)
    for cpu in CPUS:
        assert run.count(tiny, cpu, build.RAM_MIB, qemu=debian_qemu) == here


@pytest.mark.long
def test_selftest_passes_under_another_version_of_qemu(images, debian_qemu):
    status, output = board.run_elf(images["selftest"], CPUS[0], qemu=debian_qemu)
    assert status == 0, output.decode()


@pytest.fixture
def counts_with(tiny, images, tmp_path, monkeypatch):
    """Returns a function (file, old, new) -> counts of the core with one text of it changed."""

    def change(file, old, new):
        shutil.copytree(build.core.SOURCES, tmp_path / "src")
        copy = tmp_path / "build" / build.target().name
        shutil.copytree(build.target().build_dir / "obj", copy / "obj")
        path = tmp_path / "src" / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        monkeypatch.setattr(build.core, "SOURCES", tmp_path / "src")
        monkeypatch.setattr(build.core, "ROOT", tmp_path)
        return run.count(tiny, CPUS[0], build.RAM_MIB)

    return change


KERNEL, RETURN = "aarch64/dot_f32_neon.c", "return dot_neon(a, b, n);"


def gate_of(before, after):
    base, current = (counts.run_of(counts.count_rows({CPUS[0]: t})) for t in (before, after))
    return gate.gate([base], current, None)


def test_comment_moves_no_count(tiny, counts_with):
    before = run.count(tiny, CPUS[0], build.RAM_MIB)
    after = counts_with(KERNEL, RETURN, "// Said in other words.\n    " + RETURN)
    assert after == before
    assert gate_of(before, after).status == gate.PASS


def test_gate_refuses_a_kernel_that_became_12_percent_longer(tiny, counts_with):
    row = "dot/f32/neon/384"
    before = run.count(tiny, CPUS[0], build.RAM_MIB)
    more = round(before[row] * 0.12)
    idle = f'__asm__ volatile(".rept {more}\\nnop\\n.endr");\n    '
    after = counts_with(KERNEL, RETURN, idle + RETURN)
    assert after[row] == before[row] + more
    refused = gate_of(before, after)
    assert refused.status == gate.REGRESSION
    assert row in refused.line
    assert [v.id for v in refused.verdicts if v.verdict == gate.SLOWER] == [f"{CPUS[0]}/{row}"]


def test_bench_refuses_where_counts_are_not_exact(images):
    status, output = board.run_elf(images["bench"], CPUS[0], is_counted=False)
    assert status == 2
    assert b"PMCEID0 bit 8 is clear" in output


def test_damaged_image_is_refused_at_boot(tiny, tmp_path, monkeypatch):
    n_arena = build.arena_bytes(tiny, 256)
    monkeypatch.setattr(build, "arena_bytes", lambda *_: n_arena)  # which refuses the damaged too
    data = bytearray(tiny.read_bytes())
    data[-100] ^= 1  # a weight
    bad = tmp_path / "bad.kllm"
    bad.write_bytes(data)
    status, output = board.run_elf(build.link("generate", bad), CPUS[0], arguments=("1", "a"))
    assert status == 4
    assert b"checksum of the model image" in output
    data[16] ^= 1  # the header
    bad.write_bytes(data)
    status, output = board.run_elf(build.link("generate", bad), CPUS[0], arguments=("1", "a"))
    assert status == 4
    assert b"damaged at byte" in output


def test_model_too_big_for_the_memory_is_refused_when_linking(tiny, tmp_path):
    big = tmp_path / "big.kllm"
    big.write_bytes(tiny.read_bytes() + bytes(8 << 20))
    with pytest.raises(build.DoesNotFit, match=r"does not fit 8 MiB: image \d+ bytes, arena \d+"):
        build.link("generate", big, ram_mib=8)


@pytest.mark.parametrize("words", ["build generate", "run --model", "mix --model"])
def test_model_that_is_not_there_is_told_in_one_line(words):
    command = [sys.executable, "-m", *f"qemu.{words} nowhere.gguf".split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such file" in done.stderr and done.stderr.count("\n") == 1


def test_hanging_machine_is_ended_with_its_output(tmp_path):
    # A branch to itself behind nothing: the machine runs, prints nothing and never ends.
    source, path = tmp_path / "hang.s", tmp_path / "hang.elf"
    source.write_text(".global _start\n_start: b _start\n")
    build.core.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x40080000",
                    "-Wl,--build-id=none", source, "-o", path])  # fmt: skip
    with pytest.raises(board.Hung, match="ended after 2 s"):
        board.run_elf(path, CPUS[0], limit_s=2)


def test_fault_is_reported_and_ends_the_machine(images, tmp_path):
    # The first word of the selftest's own main becomes an undefined instruction.
    with open(images["selftest"], "rb") as file:
        data = bytearray(file.read())
    from elftools.elf.elffile import ELFFile

    with open(images["selftest"], "rb") as file:
        image = ELFFile(file)
        text = image.get_section_by_name(".text")
        main = image.get_section_by_name(".symtab").get_symbol_by_name("image_main")[0]
        at = text["sh_offset"] + main["st_value"] - text["sh_addr"]
    struct.pack_into("<I", data, at, 0)
    path = tmp_path / "broken.elf"
    path.write_bytes(data)
    status, output = board.run_elf(path, CPUS[0])
    assert status == 3
    assert f"at 0x{main['st_value']:016x}".encode() in output
