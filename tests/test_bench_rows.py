# SPDX-License-Identifier: Apache-2.0
"""What the rows of the suite run: the work they name, on buffers that fit, allocating nothing."""

import numpy as np
import pytest

from benches import alloc, bench_tokenize, kernels, seeded
from benches.bench_generate import decode_runner
from benches.declare import Selection, collect

SMALL = ("dequantize", "dot", "matvec", "layernorm", "rmsnorm", "softmax", "rope", "swiglu",
         "attention", "kv", "arena", "tokenize", "control", "stream/read/16K")  # fmt: skip
BENCHES, _ = collect(Selection(only=SMALL))


@pytest.mark.parametrize("bench", BENCHES, ids=lambda b: b.id)
def test_row_runs_for_no_one_and_many_loops(bench):
    run = bench.make()
    for loops in (0, 1, 3, 100):
        run(loops)


@pytest.mark.parametrize("bench", BENCHES, ids=lambda b: b.id)
def test_row_explains_itself_and_names_its_level(bench):
    assert len(bench.explain) > 20
    assert bench.level in ("scalar", "simd", "")
    parts = bench.key.split("/")
    assert [p for p in bench.id.split("/") if p in parts] == parts


def test_rows_of_kernels_need_no_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    benches, skipped = collect(Selection(only=("dot", "kv")))
    assert len(benches) >= 3 and not skipped


def best(stem):
    return kernels.variants()[stem][-1][1]


def test_dot_row_multiplies_the_vectors_it_was_given():
    a, b, out = kernels.floats(384), kernels.floats(384, 2), kernels.zeros(64)
    kernels.runner(best("dot_f32"), out, a, b, dims=(384,))(3)
    exact = np.dot(a.astype(np.float64), b.astype(np.float64))
    # 384 products of size 1 in 24 roundings a lane: far below 1e-4
    assert abs(out.view(np.float32)[0] - exact) < 1e-4


def test_matvec_row_multiplies_a_matrix_of_the_size_it_names():
    n = 384
    w, x, y = kernels.packed("f32", n, n), kernels.floats(n, 2), kernels.zeros(4 * n)
    kernels.runner(best("matmul_f32"), y, w, x, dims=(n, n, 1, n))(1)
    exact = w.reshape(n, n).astype(np.float64) @ x.astype(np.float64)
    assert np.abs(y.view(np.float32) - exact).max() < 1e-3


@pytest.mark.parametrize("dtype", ["f16", "q4_0", "q8_0"])
def test_levels_of_a_row_give_the_same_bits(dtype):
    n = 384
    stem = "matmul_f32_f16" if dtype == "f16" else f"matmul_f32_{dtype}_q8"
    x = kernels.floats(n) if dtype == "f16" else kernels.q8_row(n)
    outs = []
    for _, idx in kernels.variants()[stem]:
        y = kernels.zeros(4 * n)
        kernels.runner(idx, y, kernels.packed(dtype, n, n), x, dims=(n, n, 1, n))(1)
        outs.append(y.tobytes())
    assert len(set(outs)) == 1 and np.isfinite(np.frombuffer(outs[0], np.float32)).all()


def test_buffers_lie_at_the_same_place_of_a_page_each_time():
    places = {kernels.floats(1000, 2).ctypes.data % kernels.PAGE for _ in range(5)}
    assert len(places) == 1
    assert kernels.floats(1000, 1).ctypes.data % kernels.ALIGN == 0
    assert kernels.floats(10, 1).ctypes.data % 4096 != kernels.floats(10, 2).ctypes.data % 4096


@pytest.mark.parametrize(("size", "millions"), [("tiny", 15), ("small", 60), ("medium", 240),
                                                ("large", 1000)])  # fmt: skip
def test_seeded_sizes_have_the_parameters_they_are_called_by(size, millions):
    assert seeded.SHAPES[size].n_weight == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize("dtype", ["f32", "q8_0", "q4_0"])
def test_seeded_file_is_a_model_of_its_shape(dtype, tmp_path):
    from kernel_llm.gguf.read import GGUF

    shape = seeded.Shape(1, 128, 192)
    seeded.write_gguf(tmp_path / "a.gguf", shape, dtype)
    seeded.write_gguf(tmp_path / "b.gguf", shape, dtype)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    tensors = GGUF(str(tmp_path / "a.gguf")).tensors
    # matrices in their type, three norms of f32
    n_bytes = seeded.weight_bytes(shape, dtype) + 3 * 4 * shape.n_embd
    assert sum(t.n_bytes for t in tensors) == n_bytes


def test_decode_runner_steps_the_same_tokens_again_and_again(tmp_path):
    from kernel_llm.pack import pack

    seeded.write_gguf(tmp_path / "a.gguf", seeded.Shape(1, 128, 192), "q8_0")
    pack(tmp_path / "a.gguf", tmp_path / "a.kllm", seeded._silent)
    run = decode_runner(tmp_path / "a.kllm", 0, 1, n_before=8)
    run(3)
    first = bytes(run.model.logits())
    run(500)  # more than the context holds: it starts over
    run(3)
    assert bytes(run.model.logits()) == first and run.model.length() == 11
    assert np.isfinite(np.frombuffer(first, np.float32)).all()
    run.model.close()


def test_tokenize_row_encodes_whole_hundreds_of_characters():
    assert len(bench_tokenize.TEXT.encode()) == len(bench_tokenize.TEXT)
    assert len(bench_tokenize.TEXT) * bench_tokenize.N_REPEAT >= 1000 * bench_tokenize.N_CHAR


def test_allocations_are_counted_and_ours_are_none(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from benches.declare import benchmark\n"
        "@benchmark('mine/allocates')\ndef a():\n    return bytes(100_000)\n"
        "@benchmark('mine/does_not')\ndef b():\n    return None\n"
    )
    files = [str(tmp_path / "mine.py")]
    ids = ["mine/allocates", "mine/does_not", *[b.id for b in BENCHES if b.key == "dot/f32/384"]]
    counts, why = alloc.count(ids, {"simd": True, "files": files}, 120)
    if why:
        pytest.skip(why)
    assert counts.pop("mine/allocates") >= 1
    assert set(counts.values()) == {0} and len(counts) == len(ids) - 1
