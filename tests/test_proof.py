"""The proofs of tests/proof hold, and each fails for a core with one condition left out."""

import shutil

import prove
import pytest

from conftest import ROOT
from qemu.sysroot import NoSysroot

LONG = {"prove_plan"}  # minutes
PROOFS = [pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
          for name in prove.PROOFS]  # fmt: skip

# (proof, file of the core, a condition, what stands in its place)
LEFT_OUT = [
    ("prove_alloc", "arena.c", "pad > free_bytes ||", ""),
    ("prove_alloc", "arena.c", "n_bytes > free_bytes - pad",
     "arena->used_bytes + n_bytes > arena->n_bytes"),
    ("prove_alloc_is_complete", "arena.c", "n_bytes > free_bytes - pad",
     "n_bytes >= free_bytes - pad"),
    ("prove_release", "arena.c", "mark > arena->used_bytes", "mark > arena->peak_bytes"),
    ("prove_tensor_bytes", "image.c", "cols > KLLM_MAX_FF", "cols > KLLM_MAX_FF * 1024"),
    ("prove_tensor", "image.c", "tensor->off > image->n_bytes ||", ""),
    ("prove_tensor", "image.c", "n_bytes > image->n_bytes - tensor->off",
     "tensor->off + n_bytes > image->n_bytes"),
    ("prove_header", "image.c", "m->n_bytes <= n_bytes &&", ""),
    ("prove_header", "image.c", "table_bytes <= m->vocab_off - KLLM_IMAGE_HEADER_BYTES", "1"),
    ("prove_header", "image.c", "m->vocab_bytes <= m->weights_off - m->vocab_off", "1"),
    ("prove_places", "tokenizer/vocab_check.c", "n_bytes <= h->n_bytes - off",
     "n_bytes + off <= h->n_bytes"),
    ("prove_places", "tokenizer/vocab_check.c", "(uint64_t)h->n_merge * 4",
     "(uint64_t)h->n_merge * 2"),
]  # fmt: skip


@pytest.fixture(scope="module")
def cbmc():
    try:
        return prove.find_cbmc()
    except NoSysroot as error:
        pytest.skip(f"no CBMC: {error}")


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_holds(cbmc, name):
    assert prove.run(cbmc, name) == []


@pytest.mark.parametrize("name, file, condition, other", LEFT_OUT)
def test_a_proof_fails_without_a_condition(cbmc, tmp_path, name, file, condition, other):
    text = (ROOT / "native" / "src" / file).read_text()
    assert text.count(condition) >= 1
    sources = shutil.copytree(ROOT / "native" / "src", tmp_path / "src")
    (sources / file).write_text(text.replace(condition, other))
    assert prove.run(cbmc, name, sources)
