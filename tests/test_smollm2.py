"""A real model: SmolLM2-135M over English text, against NumPy, in every weight type."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from conftest import ROOT
from kernel_llm.gguf.quantize import quantize
from kernel_llm.model import Model
from kernel_llm.opening import open_image
from kernel_llm.sampler import Sampler
from numpy_forward import NumpyModel, nll_of

TEXT = (ROOT / "tests" / "data" / "english.txt").read_text()
N_TOKEN = 384
LONG = ("q8_0", "q4_0", "f32")  # ten seconds each
PARAMS = ("q4_1", *(pytest.param(name, marks=pytest.mark.long) for name in LONG))


@pytest.fixture(scope="module", params=PARAMS)
def path(request, smollm2, tmp_path_factory):
    if request.param == "q4_1":
        return smollm2
    output = tmp_path_factory.mktemp("smollm2") / f"{request.param}.gguf"
    quantize(smollm2, output, request.param)
    return output


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def test_384_tokens_of_english_score_as_in_numpy(path):
    with Model(open_image(path), n_ctx=N_TOKEN, n_logits=64) as model:
        ids = model.encode(TEXT)[:N_TOKEN]
        assert len(ids) == N_TOKEN
        nll, top1 = model.score_ids(ids)
    logits = NumpyModel(path).forward(ids)
    expected = nll_of(logits, ids)
    agreement = np.mean(np.array(top1) == logits[:-1].argmax(-1))
    print(f"mean nll {np.mean(nll):.4f}, NumPy {expected.mean():.4f}, top-1 {agreement:.2%}")
    assert abs(np.mean(nll) - expected.mean()) < 0.02
    assert agreement >= 0.97


def test_an_image_opens_in_50_ms_and_maps_its_weights(smollm2):
    open_image(smollm2).close()  # packed now
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        Model(open_image(smollm2), n_ctx=512, threads=2).close()
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05


def test_the_command_line_scores_a_file(smollm2, tmp_path):
    command = [
        sys.executable,
        "-m",
        "kernel_llm",
        "score",
        str(smollm2),
        str(ROOT / "tests/data/english.txt"),
        "--tokens",
        "40",
        "--threads",
        "1",
        "--json",
    ]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    assert len(found["ids"]) == 40 and len(found["nll"]) == len(found["top1"]) == 39
    assert found["mean_nll"] == pytest.approx(np.mean(found["nll"]))
    with Model(open_image(smollm2), n_ctx=64, threads=2, n_logits=64) as model:
        assert found["nll"] == model.score_ids(found["ids"])[0]


def test_the_same_seed_gives_the_same_text_for_any_thread_count(smollm2):
    texts = set()
    for threads in (1, 2):
        with Model(open_image(smollm2), n_ctx=128, threads=threads) as model:
            model.prefill(model.encode("The lighthouse keeper"))
            texts.add("".join(model.stream(40, Sampler(temperature=0.9, seed=7))))
    assert len(texts) == 1
