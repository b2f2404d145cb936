"""Whole models: right answers, and the same bits however they are asked for."""

import itertools
import os
import subprocess
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import kernel_llm
from conftest import ROOT
from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.model import Model
from kernel_llm.opening import open_image
from kernel_llm.sampler import Sampler
from kernel_llm.stop_text import StopText
from numpy_forward import NumpyModel, nll_of

IDS = [(7 * i * i + 3 * i + 11) % 250 for i in range(70)]
MODELS = [("llama", d) for d in ("f32", "f16", "q8_0", "q4_0", "q4_1")] + [
    ("gpt2", d) for d in ("f32", "q8_0")
]
QUANTIZED = ("q8_0", "q4_0", "q4_1")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keeps packed images out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def open_tiny(path, **options):
    options = {"n_ctx": 96, "threads": 1, "n_logits": len(IDS), "n_batch": 16, **options}
    return Model(open_image(path), **options)


def logits_of(model, ids, seq=0):
    """Returns f32 [n][n_vocab]: the logits after every id, as bits."""
    model.eval(ids, [seq] * len(ids), "all")
    return np.array([np.frombuffer(model.logits(i), np.uint32) for i in range(len(ids))])


def as_floats(bits):
    return bits.view(np.float32).astype(np.float64)


@pytest.mark.parametrize("arch,dtype", MODELS)
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_numpy(tiny_models, arch, dtype, tied):
    path = tiny_models(arch, dtype, tied=tied)
    expected = NumpyModel(path, q8_inputs=True).forward(IDS)
    with open_tiny(path, kv="f32") as model:
        found = as_floats(logits_of(model, IDS))
    error = np.abs(found - expected) / expected.std()
    assert error.max() < 1e-4 or dtype in QUANTIZED
    # A sum that differs in its last bits may round an activation to the next of 254 steps, which
    # few do: most logits agree as closely as without, the others within some steps.
    assert np.median(error) < 2e-3
    assert error.max() < 0.1
    assert nll_of(found, IDS).mean() == pytest.approx(nll_of(expected, IDS).mean(), rel=1e-3)


@pytest.mark.parametrize("arch,dtype", MODELS)
@pytest.mark.parametrize("kv", ["f32", "f16", "q8_0"])
def test_one_answer_for_every_way_to_ask(tiny_models, arch, dtype, kv):
    path = tiny_models(arch, dtype)
    with open_tiny(path, kv=kv, cpu=0, n_batch=1) as model:
        expected = logits_of(model, IDS)
    for cpu, threads, n_batch in itertools.product((0, 0xFFFFFFFF), (1, 2, 3), (1, 7, 64)):
        with open_tiny(path, kv=kv, cpu=cpu, threads=threads, n_batch=n_batch) as model:
            found = logits_of(model, IDS)
        assert np.array_equal(found, expected), (cpu, threads, n_batch)


@pytest.mark.parametrize("arch,dtype", MODELS)
def test_tokens_shared_out_get_the_same_bits(tiny_models, arch, dtype):
    n = 3 * 69  # 64 and more for each of three threads, in three sequences
    ids, seqs = [(i * i) % 61 for i in range(n)], [i // 69 for i in range(n)]
    bits = {}
    for threads, n_batch in ((1, 1), (1, n), (2, n), (3, n)):
        options = {"threads": threads, "n_batch": n_batch, "n_seq": 3, "n_logits": n}
        with open_tiny(tiny_models(arch, dtype), **options) as model:
            model.eval(ids, seqs, "all")
            bits[threads, n_batch] = b"".join(bytes(model.logits(i)) for i in range(n))
    assert len(set(bits.values())) == 1


@pytest.fixture
def busy_cores():
    """Keeps every core busy with another program: threads lose theirs anywhere in a token."""
    loop = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(loop) for _ in range(os.cpu_count() or 1)]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.mark.parametrize("dtype", ["q4_0", "f16"])
@pytest.mark.parametrize("threads", [2, 8])
def test_threads_that_lose_their_cores_change_no_bit(tiny_models, busy_cores, dtype, threads):
    path = tiny_models("llama", dtype)
    with open_tiny(path) as model:
        expected = logits_of(model, IDS)
    with open_tiny(path, threads=threads) as model:
        for n_call in (1, 5, len(IDS)):
            for _ in range(4):
                model.reset()
                parts = [IDS[i : i + n_call] for i in range(0, len(IDS), n_call)]
                found = np.concatenate([logits_of(model, part) for part in parts])
                assert np.array_equal(found, expected), n_call


@pytest.mark.parametrize("arch,dtype", MODELS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_sequence_gets_the_same_bits_among_others(tiny_models, arch, dtype, threads):
    path = tiny_models(arch, dtype)
    with open_tiny(path) as model:
        expected = logits_of(model, IDS[:20])
    others = {0: IDS[30:45], 1: IDS[40:60], 2: IDS[:20], 3: IDS[5:11]}
    with open_tiny(path, n_seq=4, threads=threads) as model:
        for pos in range(20):
            tokens = [(s, ids[pos]) for s, ids in others.items() if pos < len(ids)]
            model.eval([t for _, t in tokens], [s for s, _ in tokens])
            assert np.array_equal(np.frombuffer(model.logits(2), np.uint32), expected[pos])


def test_a_mixed_call_of_prompts_and_single_tokens_gives_the_same_bits(tiny_models):
    path = tiny_models("llama", "q8_0")
    with open_tiny(path) as model:
        expected = logits_of(model, IDS[:30])
    calls = [(0, IDS[:11]), (1, IDS[:30]), (0, IDS[11:30])]
    order = [(s, t) for part in itertools.zip_longest(*([(s, t) for t in ids] for s, ids in calls))
             for s, t in filter(None, part)]  # fmt: skip
    ours = [t for s, t in order if s == 1]
    assert ours == IDS[:30]
    with open_tiny(path, n_seq=2, threads=2) as model:
        model.eval([t for _, t in order], [s for s, _ in order])
        assert np.array_equal(np.frombuffer(model.logits(1), np.uint32), expected[-1])


def test_cutting_a_sequence_back_forgets_what_was_cut(tiny_models):
    with open_tiny(tiny_models("llama", "q4_0"), kv="q8_0") as model:
        expected = logits_of(model, IDS)
        model.reset(keep=20)
        assert model.length() == 20
        model.eval(IDS[50:60], [0] * 10)
        model.reset(keep=20)
        found = logits_of(model, IDS[20:])
        assert np.array_equal(found, expected[20:])


REFUSED = {
    "token past the vocabulary": (lambda m: m.eval([1, m.n_vocab], [0, 0]), "RANGE: token id"),
    "token below 0": (lambda m: m.eval([1, -1], [0, 0]), "RANGE: an id is negative"),
    "sequence that is not there": (lambda m: m.eval([1], [1]), "RANGE: no sequence 1 among 1"),
    "no tokens": (lambda m: m.eval([], []), "RANGE: there are no tokens"),
    "more logits than rows": (lambda m: m.eval([1] * 71, [0] * 71, "all"), "RANGE: logits of 71"),
    "logits of no kind": (lambda m: m.eval([1], [0], "some"), "RANGE"),
    "context full": (lambda m: m.eval([1] * 77, [0] * 77), "SPACE"),
    "prompt for a sequence that is not there": (lambda m: m.prefill([1] * 77, 1), "RANGE"),
    "length of a sequence that is not there": (lambda m: m.length(1), "RANGE"),
    "prompt longer than the context": (lambda m: m.prefill([1] * 77), "SPACE"),
    "cut longer than it is": (lambda m: m.reset(keep=21), "RANGE"),
    "cut of a sequence that is not there": (lambda m: m.reset(seq=1), "RANGE"),
    "empty prompt": (lambda m: next(m.generate([])), "RANGE"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_is_refused_changes_nothing(tiny_models, title):
    call, code = REFUSED[title]
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        expected = logits_of(model, IDS[:30])[20:]
        model.reset(keep=20)
        with pytest.raises(KllmError) as error:
            call(model)
        assert code in str(error.value)
        assert model.length() == 20
        assert np.array_equal(logits_of(model, IDS[20:30]), expected)


def test_a_step_with_the_code_of_an_error_is_refused(tiny_models):
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        for token in (-2, model.n_vocab):
            assert model.step(token) == _abi.KLLM_ERR_RANGE
        assert model.length() == 0


def test_logits_have_no_row_before_the_first_nor_behind_the_last(tiny_models):
    with open_tiny(tiny_models("llama", "q8_0"), n_logits=3) as model:
        for row in (-1, 3):
            with pytest.raises(IndexError):
                model.logits(row)


@pytest.mark.parametrize("option", ["n_ctx", "threads", "n_batch", "n_seq", "n_logits"])
def test_a_number_that_is_not_whole_is_named(tiny_models, option):
    image = open_image(tiny_models("llama", "q8_0"))
    with pytest.raises(TypeError, match=f"{option} is 4.0, not a whole number"):
        Model(image, **{option: 4.0})
    for name in ("top_k", "repeat_last_n", "seed"):
        with pytest.raises(TypeError, match=f"{name} is 2.5, not a whole number"):
            Sampler(**{name: 2.5})


@pytest.mark.parametrize("option", ["n_ctx", "threads", "n_batch", "n_seq"])
def test_none_of_something_is_not_taken_for_the_default(tiny_models, option):
    with pytest.raises(KllmError, match=f"RANGE: {option} is 0"):
        open_tiny(tiny_models("llama", "q8_0"), **{option: 0})


def test_progress_tells_how_much_is_done_of_all(tiny_models):
    told = []
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        model.prefill(IDS, progress=lambda *done_of: told.append(done_of))
        model.reset()
        model.score_ids(IDS, progress=lambda *done_of: told.append(done_of))
    assert told[:5] == [(done, 70) for done in (16, 32, 48, 64, 70)]
    assert told[5:] == [(done, 69) for done in (16, 32, 48, 64, 69)]


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_logits_that_are_no_numbers_are_told(tiny_models, bad):
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        model.eval(IDS[:5], [0] * 5)
        np.frombuffer(model.logits(), np.float32)[7] = float(bad)
        with pytest.raises(KllmError, match="not finite"):
            model.score(3)
        with pytest.raises(KllmError, match="not finite"):
            next(model.generate_ids(1, Sampler()))


def test_score_is_minus_log_of_softmax(tiny_models):
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        logits = as_floats(logits_of(model, IDS))
        model.reset()
        nll, top1 = model.score_ids(IDS)
    # The result is a float (2^-24), the sum of exponentials is off by an ulp of float each.
    assert np.allclose(nll, nll_of(logits, IDS), rtol=2.0**-23, atol=2.0**-22)
    assert top1 == logits[: len(IDS) - 1].argmax(-1).tolist()


def test_the_context_ends_a_generation_and_says_so(tiny_models):
    with open_tiny(tiny_models("llama", "q8_0"), n_ctx=40, n_logits=1) as model:
        model.prefill(IDS[:30])
        model._stops = []
        ids = list(model.generate_ids(100, Sampler()))
        assert len(ids) == 11  # the last one is known but no longer fits
        assert model.stop_reason == "context"


def test_a_model_that_is_dropped_ends_its_threads(tiny_models):
    """Their memory goes with the model: a thread left behind would bring the process down."""
    path = tiny_models("llama", "q4_0")
    program = (
        "import kernel_llm, sys\n"
        "for _ in range(40):\n"
        "    model = kernel_llm.open(sys.argv[1], threads=4, n_ctx=64)\n"
        "    model.prefill([1, 2, 3])\n"
        "    del model\n"  # while the others still look for work
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT)
    assert done.returncode == 0


def test_generated_text_is_never_half_a_character(tiny_models):
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        model._stops = []
        model.prefill(model.encode("Hello"))
        ids = []
        sampler = Sampler(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0, seed=5)
        pieces = list(model.stream(60, sampler, ids=ids))
        whole = b"".join(model.encoder.decode_bytes([i]) for i in ids)
        assert all(pieces) and len(pieces) > 10
        assert "".join(pieces) == whole.decode("utf-8", "replace")


def stopped(text, stops):
    """The text before the first of some that is complete, of several the longest: by looking."""
    for end in range(len(text) + 1):
        found = [s for s in stops if text[:end].endswith(s)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


@hypothesis.given(st.lists(st.text("ab", max_size=3), max_size=12),
                  st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))  # fmt: skip
def test_a_text_stops_at_the_same_place_however_it_comes(pieces, stops):
    stop, found = StopText(stops), ""
    for piece in pieces:
        found += stop.push(piece)
        if stop.found:
            break
    assert (found + stop.finish(), stop.found) == stopped("".join(pieces), stops)


def test_a_stop_text_ends_a_generation(tiny_models):
    prompt, sampling = "Hello", {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "seed": 5}
    with open_tiny(tiny_models("llama", "q8_0")) as model:
        whole = "".join(model.generate(prompt, 40, **sampling))
        for stop in ([whole[10:13]], [whole[20:23], whole[10:13]], ["no such text"]):
            model.reset()
            text = "".join(model.generate(prompt, 40, stop=stop, **sampling))
            assert (text, model.stop_reason == "stop") == stopped(whole, stop)
        model.reset()
        text = "".join(model.generate(prompt, 40, stop=whole[10:13], **sampling))
        assert text == whole.partition(whole[10:13])[0] != whole
        model.reset()
        with pytest.raises(KllmError, match="empty"):
            next(model.generate(prompt, stop=["a", ""]))


def test_what_the_package_offers_is_listed_and_explained():
    for name in kernel_llm.__all__:
        assert name in dir(kernel_llm)
        assert len(getattr(kernel_llm, name).__doc__) > 40, name


def test_tokens_and_sequences_must_be_as_many(tiny_models):
    with Model(open_image(tiny_models("llama", "q8_0")), n_ctx=8, threads=1) as model:
        for tokens, seqs in (([1, 2], [0]), ([1], [0, 0]), ([1], [])):
            with pytest.raises(ValueError, match="sequences"):
                model.eval(tokens, seqs)
        with pytest.raises(KllmError, match="RANGE"):
            model.eval([], [])
        assert model.length() == 0


def test_a_negative_number_is_out_of_range(tiny_models):
    with Model(open_image(tiny_models("llama", "q8_0")), n_ctx=8, threads=1) as model:
        model.prefill([1, 2])
        for call in (
            lambda: model.length(-1), lambda: model.reset(-1), lambda: model.reset(keep=-1),
            lambda: model.prefill([1], -1), lambda: model.score(-1), lambda: model.score(1, -1),
            lambda: model.eval([-1], [0]), lambda: model.eval([1], [-1]),
        ):  # fmt: skip
            with pytest.raises(KllmError, match="RANGE"):
                call()
        assert model.length() == 2


def test_a_closed_model_computes_nothing_and_reads_nothing(tiny_models):
    model = Model(open_image(tiny_models("llama", "q8_0")), n_ctx=8, threads=2)
    model.prefill([1, 2])
    logits, image, sampler = model.logits(), model.image, Sampler()
    content = bytes(logits)
    model.close()
    model.close()
    for call in (
        lambda: model.step(1), lambda: model.eval([1], [0]), lambda: model.sample(sampler),
        lambda: model.score(1), lambda: model.length(), lambda: model.reset(),
        lambda: model.encode("a"), lambda: model.decode([1]), lambda: model.logits(),
        lambda: image.n_vocab, lambda: list(image.tensors()), image.check_body,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="closed"):
            call()
    assert not hasattr(model, "nothing")
    assert bytes(logits) == content  # who holds the buffer keeps its memory
