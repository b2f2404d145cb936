"""GGUF to GGUF: the same model in another type, read by others, whole or not at all."""

import os

import gguf as oracle
import numpy as np
import pytest

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.gguf import quantize
from kernel_llm.gguf import weights as w
from kernel_llm.gguf.hyper import hyper_parameters
from kernel_llm.gguf.read import GGUF
from make_data import DTYPES, make_gpt2, make_llama, write_model

TYPE_OF = oracle.GGMLQuantizationType
OURS = ("general.file_type", "general.quantization_version")


def values_of(path):
    """Returns {tensor: float32 values} by the gguf package."""
    return {
        t.name: oracle.quants.dequantize(t.data, t.tensor_type)
        for t in oracle.GGUFReader(path).tensors
    }


@pytest.mark.parametrize("target", ["f32", "f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("make", [make_llama, make_gpt2])
def test_quantize_gives_what_the_gguf_package_would(make, source, target, tmp_path):
    src, dst = make(tmp_path / "src.gguf", dtype=source), tmp_path / "dst.gguf"
    quantize.quantize(src, dst, target)
    before, after = oracle.GGUFReader(src), oracle.GGUFReader(dst)
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, list(old.shape)) == (new.name, list(new.shape))
        vector = len(old.shape) == 1 or old.name == "position_embd.weight"
        want = TYPE_OF[target.upper()]
        assert new.tensor_type == (TYPE_OF.F32 if vector else want)
        if old.tensor_type == new.tensor_type:
            np.testing.assert_array_equal(old.data, new.data)
        else:
            values = oracle.quants.dequantize(old.data, old.tensor_type)
            np.testing.assert_array_equal(new.data, oracle.quants.quantize(values, want))


@pytest.mark.parametrize("vocab", ["smollm", "spm"])
def test_quantize_keeps_the_metadata(vocab, tmp_path):
    src, dst = make_llama(tmp_path / "src.gguf", vocab=vocab), tmp_path / "dst.gguf"
    quantize.quantize(src, dst, "q8_0")
    before, after = GGUF(src), GGUF(dst)
    for key in before.metadata.keys() - set(OURS):
        assert after.types[key] == before.types[key]
        assert after.metadata[key] == before.metadata[key]
    assert after.metadata["general.file_type"] == oracle.LlamaFileType.MOSTLY_Q8_0
    assert after.metadata["general.quantization_version"] == oracle.GGML_QUANT_VERSION
    assert hyper_parameters(after).n_vocab == hyper_parameters(before).n_vocab


@pytest.mark.parametrize(
    "target, name", [("f32", "ALL_F32"), ("f16", "MOSTLY_F16"), ("q4_0", "MOSTLY_Q4_0")]
)
def test_quantize_says_the_file_type(target, name, tmp_path):
    dst = tmp_path / "dst.gguf"
    quantize.quantize(make_llama(tmp_path / "src.gguf"), dst, target)
    assert GGUF(dst).metadata["general.file_type"] == oracle.LlamaFileType[name]


def test_quantize_twice_to_the_same_type_changes_nothing(tmp_path):
    src = make_llama(tmp_path / "src.gguf")
    quantize.quantize(src, tmp_path / "a.gguf", "q4_0")
    quantize.quantize(tmp_path / "a.gguf", tmp_path / "b.gguf", "q4_0")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_quantize_never_replaces_its_own_input(tmp_path):
    src, link = make_llama(tmp_path / "src.gguf"), tmp_path / "link.gguf"
    link.symlink_to(src)
    content = src.read_bytes()
    for dst in (src, link):
        with pytest.raises(KllmError, match="would replace what it is made from"):
            quantize.quantize(src, dst, "q8_0")
    assert src.read_bytes() == content


def test_quantize_in_small_steps_gives_the_same_file(tmp_path, monkeypatch):
    src = make_llama(tmp_path / "src.gguf", dtype="q4_1")
    quantize.quantize(src, tmp_path / "a.gguf", "q8_0")
    monkeypatch.setattr(w, "STEP_BYTES", 1000)
    quantize.quantize(src, tmp_path / "b.gguf", "q8_0")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_quantize_reads_bf16(tmp_path, monkeypatch):
    values = np.float32([[1.0, -2.0, 0.5, 3.0] * 8] * 2)
    src = tmp_path / "src.gguf"
    writer = oracle.GGUFWriter(src, "llama")
    writer.add_tensor("m.weight", oracle.quants.quantize(values, TYPE_OF.BF16),
                      raw_dtype=TYPE_OF.BF16)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    quantize.quantize(src, tmp_path / "dst.gguf", "f32")
    np.testing.assert_array_equal(values_of(tmp_path / "dst.gguf")["m.weight"], values)


def test_quantize_reports_progress_to_the_end(tmp_path):
    seen = []
    src = make_llama(tmp_path / "src.gguf")
    quantize.quantize(src, tmp_path / "d", "q8_0", lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == src.stat().st_size


@pytest.mark.parametrize(
    "value, target",
    [(70000.0, "f16"), (np.inf, "f32"), (np.nan, "q8_0"), (-1e7, "q8_0"), (1e6, "q4_0")],
)
def test_quantize_refuses_values_that_do_not_fit(value, target, tmp_path):
    values = np.zeros((2, 32), np.float32)
    values[1, 5] = value
    metadata = [("general.architecture", "str", "llama")]
    src = write_model(tmp_path / "src.gguf", metadata, [("m.weight", values)], "f32")
    # The values are looked at where they change their type.
    if target == "f32":
        src = write_model(tmp_path / "src.gguf", metadata, [("m.weight", values)], "f16")
    dst = tmp_path / "dst.gguf"
    dst.write_bytes(b"before")
    with pytest.raises(KllmError, match=r"m\.weight") as caught:
        quantize.quantize(src, dst, target)
    assert caught.value.code == _abi.KLLM_ERR_RANGE
    assert dst.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dst.gguf", "src.gguf"]


def test_quantize_refuses_types_it_cannot_read(tmp_path):
    src = tmp_path / "src.gguf"
    writer = oracle.GGUFWriter(src, "llama")
    writer.add_tensor("m.weight", np.zeros((2, 22), np.uint8), raw_dtype=TYPE_OF.Q5_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(KllmError, match=r"'m\.weight' type.*Q5_0") as caught:
        quantize.quantize(src, tmp_path / "dst.gguf", "q8_0")
    assert caught.value.code == _abi.KLLM_ERR_UNSUPPORTED
    assert not (tmp_path / "dst.gguf").exists()


def test_weights_refuses_a_file_that_changed_its_size(tmp_path):
    src = make_llama(tmp_path / "src.gguf")
    n_bytes = GGUF(src).n_bytes
    with open(src, "ab") as file:
        file.write(b"x")
    with pytest.raises(KllmError, match="file size"):
        w.WeightFile(src, n_bytes)


def test_weights_tell_of_a_file_that_changes_while_it_is_read(tmp_path):
    src = make_llama(tmp_path / "src.gguf")
    n_bytes = GGUF(src).n_bytes
    with w.WeightFile(src, n_bytes) as file:
        file.check_unchanged()
        os.utime(src, ns=(0, 0))
        with pytest.raises(KllmError, match="changed while"):
            file.check_unchanged()
        os.truncate(src, n_bytes - 1)
        assert file.read(0, 4).tobytes() == b"GGUF"
        with pytest.raises(KllmError, match="became shorter"):
            file.read(n_bytes - 4, 4)


def test_weights_scan_finds_the_one_bad_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(w, "STEP_BYTES", 4000)
    for dtype in DTYPES:
        src = make_llama(tmp_path / "src.gguf", dtype=dtype)
        gguf = GGUF(src)
        with w.WeightFile(src, gguf.n_bytes) as file:
            w.scan(file, gguf.tensors)
        tensor = gguf.tensor("blk.1.ffn_up.weight")
        item_bytes = {"f32": 4, "f16": 2, "q8_0": 34, "q4_0": 18, "q4_1": 20}[dtype]
        bad = tensor.off + tensor.n_bytes - item_bytes
        data = bytearray(src.read_bytes())
        data[bad : bad + item_bytes] = b"\xff" * item_bytes
        src.write_bytes(data)
        message = f"'blk.1.ffn_up.weight' data at byte {bad}:"
        with w.WeightFile(src, gguf.n_bytes) as file, pytest.raises(KllmError, match=message):
            w.scan(file, gguf.tensors)
