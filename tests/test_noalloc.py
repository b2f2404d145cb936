"""Nothing is allocated once a model is open: symbols, a counted run, arenas that are too small."""

import os
import subprocess
import sys

import pytest
from elftools.elf.elffile import ELFFile

import build
from arena.plan import Plan, config_bytes
from benches.alloc import SOURCE
from conftest import ROOT
from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm.opening import open_image

# What gcc emits calls to even in freestanding code, and what the one file with threads needs.
ALLOWED = {"memcpy", "memmove", "memset", "memcmp", "_GLOBAL_OFFSET_TABLE_"}
ALLOWED_THREADS = ALLOWED | {
    "pthread_create", "pthread_join", "pthread_sigmask", "sched_yield", "sigfillset", "syscall",
    "sched_getaffinity", "__sched_cpucount", "clock_gettime",
}  # fmt: skip


def symbols(path):
    """Returns (undefined, defined global) symbols of an object file."""
    with open(path, "rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        found = [s for s in table.iter_symbols() if s["st_info"]["bind"] == "STB_GLOBAL"]
        undefined = {s.name for s in found if s["st_shndx"] == "SHN_UNDEF"}
        return undefined, {s.name for s in found} - undefined


@pytest.mark.parametrize("source", build.sources(build.host_target()), ids=lambda p: p.stem)
def test_an_object_of_the_core_calls_no_library(source):
    undefined, defined = symbols(build.host_target().build_dir / "obj" / (source.stem + ".o"))
    allowed = ALLOWED_THREADS if source.name == "threads_linux.c" else ALLOWED
    if source.name == "cpu_aarch64_linux.c":
        allowed = allowed | {"getauxval"}
    assert {s for s in undefined if not s.startswith("kllm_")} <= allowed
    assert all(s.startswith("kllm_") for s in defined)


COUNTED_RUN = """
import ctypes, gc, sys
from kernel_llm.model import Model
from kernel_llm.opening import open_image
from kernel_llm.sampler import Sampler

calls = ctypes.CDLL(None).alloc_calls
calls.restype = ctypes.c_ulong
kv, threads = sys.argv[2], int(sys.argv[3])
model = Model(open_image(sys.argv[1]), n_ctx=256, threads=threads, kv=kv)
model.prefill(model.encode("Hello"))
sampler = Sampler(temperature=0.8, seed=1, repeat_penalty=1.1)
gc.disable()

def run(n):
    for _ in range(n):
        token = model.sample(sampler)
        assert token >= 0 and model.step(token) == 0

run(5)  # the interpreter's own first times
before = calls()
run(200)
print(calls() - before, before > 0)
model.close()
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    shared = tmp_path_factory.mktemp("native") / "count_alloc.so"
    command = [build.host_target().cc, "-O1", "-shared", "-fPIC", "-o", shared, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return shared


@pytest.mark.parametrize("kv", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_generation_of_200_tokens_calls_no_allocator(tiny_models, counter, kv, threads):
    path = tiny_models("llama", "q4_0")
    found = subprocess.run(
        [sys.executable, "-c", COUNTED_RUN, str(path), kv, str(threads)], cwd=ROOT, text=True,
        env={**os.environ, "LD_PRELOAD": str(counter), "PYTHONPATH": str(ROOT)},
        capture_output=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["0", "True"]


def test_an_arena_of_any_size_below_the_need_is_refused_and_untouched(tiny_models):
    image = open_image(tiny_models("llama", "q8_0"))
    config = config_bytes(n_ctx=8, n_batch=2)
    need = Plan(image.address, config).n_bytes
    arena = native.Memory(need)
    content = native.view(arena.address, need)
    content[:] = b"\xa5" * need
    for n_bytes in [*range(0, need, max(1, need // 997)), need - 64, need - 1]:
        status = native.kllm_open(arena.address, n_bytes, image.address, image.n_bytes,
                                  native.pointer(config))  # fmt: skip
        assert status == _abi.KLLM_ERR_SPACE
    assert content[:] == b"\xa5" * need
    assert native.kllm_open(arena.address, need, image.address, image.n_bytes,
                            native.pointer(config)) == 0  # fmt: skip
