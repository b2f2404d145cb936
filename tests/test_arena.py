"""The arena: the C core and its readable twin give the same offsets, and both what is promised."""

import itertools
import random

import pytest

from arena.arena import Arena
from conftest import SEED
from kernel_llm import _abi
from kernel_llm._native_cffi import ffi, lib

N_BYTES = 4096


@pytest.mark.parametrize("number", range(20))
def test_core_and_twin_agree_on_any_calls(number):
    rng = random.Random(SEED + number)
    core, twin = ffi.new("struct kllm_arena *"), Arena(bytearray(N_BYTES))
    lib.kllm_arena_init(core, N_BYTES)
    marks, taken = [], []
    for _ in range(300):
        call = rng.choice(("alloc", "alloc", "alloc", "mark", "release", "reset"))
        if call == "alloc":
            n_bytes, align = rng.choice((0, 1, 63, 64, 500, N_BYTES)), 1 << rng.randrange(13)
            off, used = twin.alloc(n_bytes, align), core.used_bytes
            found = lib.kllm_arena_alloc(core, n_bytes, align)
            assert found == (off if off >= 0 else _abi.KLLM_ERR_SPACE)
            if off >= 0:
                assert off % align == 0 and used <= off <= N_BYTES - n_bytes
                taken.append((off, off + n_bytes))
        elif call == "mark":
            marks.append(twin.mark())
            assert lib.kllm_arena_mark(core) == marks[-1]
        elif call == "release" and marks:
            mark = marks.pop(rng.randrange(len(marks)))
            status = lib.kllm_arena_release(core, mark)
            if mark > twin.used_bytes:
                assert status == _abi.KLLM_ERR_RANGE
                with pytest.raises(ValueError):
                    twin.release(mark)
            else:
                assert status == _abi.KLLM_OK
                twin.release(mark)
        elif call == "reset" and rng.random() < 0.1:
            lib.kllm_arena_reset(core)
            twin.reset()
        taken = [span for span in taken if span[1] <= twin.used_bytes]
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(taken))
        assert (core.used_bytes, core.peak_bytes) == (twin.used_bytes, twin.peak_bytes)


@pytest.mark.parametrize("align", [0, 3, 8192])
def test_an_alignment_that_is_none_is_refused_and_changes_nothing(align):
    core, twin = ffi.new("struct kllm_arena *"), Arena(bytearray(N_BYTES))
    lib.kllm_arena_init(core, N_BYTES)
    assert lib.kllm_arena_alloc(core, 8, align) == _abi.KLLM_ERR_RANGE
    with pytest.raises(ValueError):
        twin.alloc(8, align)
    assert core.used_bytes == twin.used_bytes == 0
