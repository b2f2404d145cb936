# SPDX-License-Identifier: Apache-2.0
"""Instructions that run on an emulated board, by kind and by token: the plugin of QEMU."""

import pytest

from conftest import needs
from qemu import board, build, mix, peer, run, sysroot

pytestmark = needs("aarch64-linux-gnu-gcc", "qemu-system-aarch64")
N_TURN = 1000
PROGRAM = f"""
    .global _start
_start:
    mov x0, #(3 << 20) // no trap of FP and SIMD
    msr CPACR_EL1, x0
    isb
    adr x2, end
    mov x1, #{N_TURN}
turn:
    add v0.4s, v1.4s, v2.4s
    fmadd s3, s4, s5, s6
    ldr q7, [x2]
    str d16, [x2]
    ldr x8, [x2]
    subs x1, x1, #1
    b.ne turn
    mov w0, #0x18
    adr x1, status
    hlt #0xf000
    .balign 16
status: .quad 0x20026, 0
end: .quad 0, 0
"""
N_OUTSIDE = 8  # five before the loop, three behind it


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mix")
    source, path = folder / "loop.s", folder / "loop.elf"
    source.write_text(PROGRAM)
    build.core.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x40080000",
                    "-Wl,-N", "-Wl,--build-id=none", source, "-o", path])  # fmt: skip
    return path


@pytest.fixture(params=["installed", pytest.param("debian", marks=pytest.mark.long)])
def qemu(request):
    if request.param == "installed":
        return board.QEMU
    try:
        return sysroot.debian_qemu()
    except sysroot.NoSysroot as error:
        pytest.skip(str(error))


def test_instructions_are_counted_by_kind(program, qemu):
    found = mix.total(mix.mix_of(program, board.CPUS[0], qemu=qemu))
    assert found == mix.Mix(7 * N_TURN + N_OUTSIDE, N_TURN, 2 * N_TURN, N_TURN)


def test_a_token_is_mostly_matrices_on_vectors():
    found = mix.token_mix(build.tiny_model(), board.CPUS[0], 4, board.PROMPT)
    kernel = found["kllm_matmul_f32_q4_0_q8_neon"]
    assert kernel.n == max(mixed.n for mixed in found.values())
    assert kernel.simd_share > 0.8
    assert 0.5 < mix.total(found).simd_share < 1
    assert not any(name.startswith(("console_", "kllm_crc32")) for name in found)


def test_a_character_takes_what_the_bench_image_counts():
    text = (b"The board is small, the memory is fixed, and every token costs the same as the one "
            b"before it. So it\0")  # fmt: skip
    model = build.tiny_model()
    found = mix.encode_costs(model, board.CPUS[0], text)
    counts = run.count(model, board.CPUS[0], build.RAM_MIB)
    expected = [counts[f"tokenizer/{name}/c/100"] for name in ("first", "encode")]
    assert found == pytest.approx(expected, abs=20)  # its loop beside
    assert mix.text_line("cpu", b"8 bytes.", (80, 20)).startswith("cpu: 10.0 instructions a")


def test_image_that_fails_is_named_with_its_last_line():
    bench = build.link("bench", build.tiny_model())  # without -icount it refuses to count
    with pytest.raises(mix.NoMix, match=r"^bench-.*\.elf: exit status 2: no exact counts here"):
        mix.mix_of(bench, board.CPUS[0])


# A token alone takes 1000 instructions, one of a prompt 100, and starting takes what it takes.
ENGINE = """
#include <stdlib.h>

static void work(long n) {
    __asm__ volatile("1:\\n.rept 8\\nnop\\n.endr\\nsubs %0, %0, #1\\nb.ne 1b" : "+r"(n) : : "cc");
}

int main(int argc, char **argv) {
    (void)argc;
    work(12345);
    work(10 * atol(argv[1]) * atol(argv[2]));
    work(100 * atol(argv[3]));
    return 0;
}
"""


@needs("qemu-aarch64")
def test_cost_of_a_token_is_told_from_what_starting_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(peer, "FOLDER", tmp_path)
    source, program = tmp_path / "engine.c", tmp_path / "engine"
    source.write_text(ENGINE)
    build.core.run(["aarch64-linux-gnu-gcc", "-O1", "-static", source, "-o", program])
    found = peer.cost(["qemu-aarch64", program])
    # Reading the arguments takes a few instructions for each of their digits.
    assert found == pytest.approx(peer.Cost(1000, 100), abs=5)


def test_engine_that_fails_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(peer, "FOLDER", tmp_path)
    with pytest.raises(peer.NoPeer, match=r"^an engine failed: .*no such model"):
        peer.cost(["sh", "-c", "echo loading; echo no such model; exit 1"])
