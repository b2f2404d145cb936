# SPDX-License-Identifier: Apache-2.0
"""The parts of the Python engine against those of the core: image check, sampler, binding."""

import os
import random
import struct
import subprocess
import sys
import zlib

import pytest

from conftest import ROOT, SEED
from kernel_llm import _abi, _native_py
from kernel_llm import _native as native
from kernel_llm.image import Image
from kernel_llm.model import Model
from kernel_llm.opening import open_image
from kernel_llm.sampler import Sampler
from kernel_llm.twin import check
from kernel_llm.twin import sampler as sampler_twin
from kernel_llm.twin.engine import Engine

# Of the interface, what nothing calls to open and run a model.
NOT_OFFERED = ("kllm_arena_", "kllm_kernel_name", "kllm_kernel_run", "kllm_vocab_check",
               "kllm_encode_")  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keeps packed images out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def test_binding_offers_what_models_call():
    for name, _, arguments in _abi.FUNCTIONS:
        if not name.startswith(NOT_OFFERED):
            assert getattr(_native_py, name).__code__.co_argcount == len(arguments), name


@pytest.fixture(scope="module")
def image_bytes(tiny_models, tmp_path_factory):
    found = {}
    for arch in ("llama", "gpt2"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
            image = open_image(tiny_models(arch, "q4_1"))
        found[arch] = bytes(native.view(image.address, image.n_bytes))
        image.close()
    return found


def sealed(data):
    """Makes the checksums of an image right again."""
    n_header = _abi.KLLM_IMAGE_HEADER_BYTES
    m = check.Header(data)
    table_end = min(len(data), n_header + m.n_tensors * _abi.KLLM_TENSOR[0])
    off = _abi.KLLM_IMAGE[1]["table_crc"][0]
    struct.pack_into("<I", data, off, zlib.crc32(data[n_header:table_end]))
    off = _abi.KLLM_IMAGE[1]["body_crc"][0]
    struct.pack_into("<I", data, off, zlib.crc32(data[m.vocab_off : m.n_bytes]))
    off = _abi.KLLM_IMAGE[1]["header_crc"][0]
    struct.pack_into("<I", data, off, zlib.crc32(data[:off]))


def verdict_of_core(data):
    memory = native.Memory(len(data))
    native.view(memory.address, len(data))[:] = bytes(data)
    bad_off = bytearray(8)
    status = native.kllm_image_check(memory.address, len(data), native.pointer(bad_off))
    memory.close()
    return status, struct.unpack("<Q", bad_off)[0]


def verdict_of_twin(data):
    try:
        check.check_image(bytes(data))
    except check.Bad as error:
        return error.status, error.off
    return 0, 0


FIELDS = [name for name, (_, kind) in _abi.KLLM_IMAGE[1].items()
          if isinstance(kind, str) and not name.endswith("crc")]  # fmt: skip
VALUES = (0, 1, 2, 3, 31, 32, 63, 64, 100, 255, 256, 4096, 1 << 20, 1 << 31, 0xFFFFFFFF)


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
@pytest.mark.parametrize("field", FIELDS)
def test_check_says_of_a_header_what_the_core_says(image_bytes, arch, field):
    off, kind = _abi.KLLM_IMAGE[1][field]
    for value in VALUES:
        data = bytearray(image_bytes[arch])
        struct.pack_into(kind, data, off, value)
        sealed(data)
        assert verdict_of_twin(data) == verdict_of_core(data), value


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_check_says_of_a_tensor_table_what_the_core_says(image_bytes, arch):
    n_tensors = check.Header(image_bytes[arch]).n_tensors
    for idx in range(0, n_tensors, 3):
        for field in ("off", "n_bytes", "dtype", "rows", "cols"):
            off, kind = _abi.KLLM_TENSOR[1][field]
            off += _abi.KLLM_IMAGE_HEADER_BYTES + idx * _abi.KLLM_TENSOR[0]
            for value in (0, 1, 2, 8, 64, 255, 0xFFFFFFC0):
                data = bytearray(image_bytes[arch])
                struct.pack_into(kind, data, off, value)
                sealed(data)
                assert verdict_of_twin(data) == verdict_of_core(data), (idx, field, value)


def test_check_finds_every_flipped_bit_and_every_cut(image_bytes):
    rng = random.Random(SEED)
    whole = image_bytes["llama"]
    assert verdict_of_twin(whole) == (0, 0)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        assert verdict_of_twin(data)[0] < 0
    for n_bytes in [*range(0, len(whole), 997), len(whole) - 1]:
        assert verdict_of_twin(whole[:n_bytes])[0] < 0


SAMPLINGS = (
    {},
    {"temperature": 1.0},
    {"temperature": 0.3, "top_k": 5, "top_p": 0.5},
    {"temperature": 4.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    {"temperature": 1.5, "top_k": 0, "top_p": 0.9, "min_p": 0.3},
    {"temperature": 2.0, "repeat_penalty": 1.7, "repeat_last_n": 3},
    {"temperature": 0.0, "repeat_penalty": 0.2, "repeat_last_n": 9},
)


@pytest.mark.parametrize("sampling", ({}, {"temperature": 1.0}, {"repeat_penalty": 1.5}), ids=str)
def test_core_samples_finite_logits_only_however_large(tiny_models, sampling):
    with Model(open_image(tiny_models("gpt2", "q4_0")), n_ctx=16, threads=1) as model:
        model.eval([1], [0])
        levels = [3e38] * model.n_vocab  # their sum overflows
        levels[5] = 3.3e38
        model.logits()[:] = struct.pack("<%df" % model.n_vocab, *levels)
        assert model.sample(Sampler(**sampling)) == 5
        for bad in ("nan", "inf", "-inf"):
            for place in (0, 7, model.n_vocab - 1):
                some = [*levels[:place], float(bad), *levels[place + 1 :]]
                model.logits()[:] = struct.pack("<%df" % model.n_vocab, *some)
                assert model.sample(Sampler(**sampling)) == _abi.KLLM_ERR_FORMAT


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_sampler_and_score_are_those_of_the_core(tiny_models, sampling):
    rng = random.Random(SEED)
    with Model(open_image(tiny_models("gpt2", "q4_0")), n_ctx=16, threads=1) as model:
        recent = [rng.randrange(model.n_vocab) for _ in range(6)]
        model.eval(recent, [0] * 6)
        for seed in range(12):
            levels = [rng.choice((rng.gauss(0, 3), 1.5, -2.0)) for _ in range(model.n_vocab)]
            model.logits()[:] = struct.pack("<%df" % model.n_vocab, *levels)
            logits = struct.unpack("<%df" % model.n_vocab, model.logits())
            sampler = Sampler(**sampling, seed=seed * 0x123456789ABCDEF)
            fields = struct.unpack("<4f2IQ", sampler._state)
            temperature, top_p, min_p, penalty, top_k, last_n, state = fields
            changed = sampler_twin.penalised(logits, recent[-last_n:], penalty)
            expected = model.sample(sampler)
            found = sampler_twin.choose(changed, temperature, top_p, min_p, top_k, state)
            assert found == (expected, struct.unpack("<Q", sampler._state[24:])[0])
            assert sampler_twin.score(logits, seed) == model.score(seed)


def test_image_is_read_alike(tiny_models):
    with Model(open_image(tiny_models("llama", "q8_0")), n_ctx=8) as model:
        path = model.image.path
        expected = list(model.image.tensors())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernel_llm.image.native", _native_py)
        image = Image(path)
        assert list(image.tensors()) == expected
        image.check_body()
        image.close()


def test_a_token_that_an_interrupt_cut_short_leaves_nothing_behind(image_bytes, monkeypatch):
    data = image_bytes["llama"]
    header, config = check.check_image(data), (16, 1, 1, 1, 1, _abi.KLLM_F16)
    engine = Engine(data, header, config)
    engine.append(3, 0)
    expected = engine.append(5, 0)
    engine.cut(0, 1)
    calls = []

    def interrupted(weights, inputs, bias=None):
        calls.append(weights)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return [0.0] * len(weights.rows)

    with monkeypatch.context() as patch:
        patch.setattr("kernel_llm.twin.engine.Weights.multiply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.append(7, 0)
    assert engine.history == [[3]]
    assert engine.append(5, 0) == expected


def test_command_line_answers_without_the_core_and_says_so(tiny_models):
    words = ["generate", str(tiny_models("gpt2", "q4_0")), "-p", "Hello", "-n", "4"]
    found = {}
    for engine in ("native", "python"):
        environment = {**os.environ, "KLLM_ENGINE": engine}
        command = [sys.executable, "-m", "kernel_llm", *words]
        done = subprocess.run(command, env=environment, capture_output=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        found[engine] = done.stdout
        assert (b"Python engine" in done.stderr) == (engine == "python")
    assert found["python"] == found["native"] != b""
