"""llama.cpp as a second oracle, where llama-cpp-python is installed (`pip install .[peers]`)."""

import numpy as np
import pytest

from conftest import ROOT
from kernel_llm.model import Model
from kernel_llm.opening import open_image
from numpy_forward import nll_of

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
TEXT = (ROOT / "tests" / "data" / "english.txt").read_text()


@pytest.fixture(scope="module")
def peer(smollm2):
    return llama_cpp.Llama(str(smollm2), n_ctx=512, logits_all=True, n_threads=2, verbose=False)


def test_tokens_are_those_of_llama_cpp(smollm2, peer):
    with Model(open_image(smollm2), n_ctx=64) as model:
        for text in (TEXT, "Ünïcödé 12345 \t\n  x", "<|im_start|>user", "日本語 👩‍🚀"):
            expected = peer.tokenize(text.encode(), add_bos=False, special=False)
            assert model.encode(text) == expected


def test_mean_nll_is_that_of_llama_cpp(smollm2, peer):
    with Model(open_image(smollm2), n_ctx=384, n_logits=64) as model:
        ids = model.encode(TEXT)[:384]
        nll, _ = model.score_ids(ids)
    peer.reset()
    peer.eval(ids)
    expected = nll_of(np.array(peer.scores[: len(ids)], np.float64), ids)
    assert abs(np.mean(nll) - expected.mean()) < 0.02
