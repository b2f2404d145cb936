"""The GGUF reader, writer and hyper-parameters, against the gguf package and built files."""

import io

import gguf as oracle
import numpy as np
import pytest

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.gguf.hyper import hyper_parameters
from kernel_llm.gguf.read import GGUF
from kernel_llm.gguf.types import DTYPES as TENSOR_TYPES
from kernel_llm.gguf.types import INTEGERS
from kernel_llm.gguf.write import Writer
from kernel_llm.summary import summary
from make_data import DTYPES, make_gpt2, make_llama
from malformed.builder import ARR, BOOL, F32, F64, I16, I64, STR, U64, valid

MODELS = [
    (make_llama, {}),
    (make_llama, {"vocab": "spm", "tied": False, "biases": True}),
    (make_llama, {"rope_factors": [1.0, 2.5] * 8}),
    (make_gpt2, {}),
    (make_gpt2, {"tied": False}),
]


def layer_slot(layer, slot):
    return _abi.KLLM_T_MODEL_COUNT + layer * _abi.KLLM_T_LAYER_COUNT + slot


def assert_same_as_oracle(path):
    """Compares everything the reader says with what the gguf package reads."""
    ours, theirs = GGUF(path), oracle.GGUFReader(path)
    fields = {k: f for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
    assert list(ours.metadata) == list(fields)
    for key, field in fields.items():
        value, want = ours.metadata[key], field.contents()
        if ours.types[key] == "[str]":
            assert value == [bytes(field.parts[i]) for i in field.data]
        elif ours.types[key].startswith("["):
            assert list(value) == want
        else:
            assert value == want
        names = {"STRING": "str", "BOOL": "bool", "ARRAY": "["}
        kind = field.types[0].name
        want = names.get(kind, kind.replace("FLOAT", "f").replace("UINT", "u").replace("INT", "i"))
        assert ours.types[key].startswith(want)
    assert [t.name for t in ours.tensors] == [t.name for t in theirs.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert mine.dims == tuple(reversed([int(d) for d in other.shape]))
        assert (mine.dtype, mine.off, mine.n_bytes) == (
            other.tensor_type,
            other.data_offset,
            other.n_bytes,
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make, options", MODELS)
def test_gguf_reads_what_the_gguf_package_reads(make, options, dtype, tmp_path):
    assert_same_as_oracle(make(tmp_path / "m.gguf", dtype=dtype, **options))


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "llama-spm", "qwen2"])
def test_gguf_reads_published_vocabularies(shared_data, name):
    assert_same_as_oracle(shared_data / "vocab" / f"ggml-vocab-{name}.gguf")


def test_gguf_reads_a_real_model(smollm2):
    assert_same_as_oracle(smollm2)
    hyper = hyper_parameters(GGUF(smollm2))
    assert (hyper.n_layer, hyper.n_embd, hyper.n_head, hyper.n_head_kv) == (30, 576, 9, 3)
    assert (hyper.head_dim, hyper.n_rot, hyper.n_ff, hyper.n_vocab) == (64, 64, 1536, 49152)
    assert (hyper.n_ctx_train, hyper.rope_base, hyper.tied) == (8192, 100000.0, True)


def test_gguf_reads_files_the_gguf_package_writes(tmp_path):
    path = tmp_path / "m.gguf"
    writer = oracle.GGUFWriter(path, "llama")
    writer.add_uint64("a.u64", (1 << 64) - 1)
    writer.add_int64("a.i64", -(1 << 63))
    writer.add_int8("a.i8", -128)
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_array("a.floats", [1.5, -2.5])
    writer.add_array("a.texts", ["", "é", "z" * 1000])
    writer.add_tensor("t.weight", np.arange(64, dtype=np.float32).reshape(2, 32))
    writer.add_tensor("u.weight", np.arange(3, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert_same_as_oracle(path)


def test_gguf_tensor_type_table_is_that_of_the_gguf_package():
    theirs = {int(t): (t.name, *size) for t, size in oracle.constants.GGML_QUANT_SIZES.items()}
    shared = TENSOR_TYPES.keys() & theirs.keys()
    assert {0, 1, 2, 3, 8, 12, 14, 30} <= shared
    assert {t: TENSOR_TYPES[t] for t in shared} == {t: theirs[t] for t in shared}


@pytest.mark.parametrize(
    "kind, name, value",
    [(I16, "i16", -3), (U64, "u64", 1 << 63), (I64, "i64", -1), (F64, "f64", 0.1),
     (BOOL, "bool", True), (STR, "str", "é")],
)  # fmt: skip
def test_gguf_gives_values_and_their_types(kind, name, value):
    file = valid()
    file.set("x.y", kind, value)
    file.set("x.z", (ARR, kind), [value])
    gguf = GGUF(io.BytesIO(file.build()))
    assert (gguf.metadata["x.y"], gguf.types["x.y"]) == (value, name)
    assert gguf.types["x.z"] == f"[{name}]"
    assert gguf.metadata["x.z"][0] == (value.encode() if name == "str" else value)
    assert gguf.fields.offs["x.y"] == file.marks["x.y"][0]


def test_gguf_keeps_token_bytes_that_are_not_utf8():
    file = valid()
    file.set("x", (ARR, STR), [b"\xff\xfe", b"\0"])
    assert GGUF(io.BytesIO(file.build())).metadata["x"] == [b"\xff\xfe", b"\0"]


def test_gguf_reports_trailing_bytes():
    file = valid()
    file.tail = b"x" * 77
    assert GGUF(io.BytesIO(file.build())).trailing_bytes == 77


def test_gguf_writer_gives_back_every_type(tmp_path):
    metadata = [("k.%s" % name, name, 1) for name in INTEGERS]
    metadata += [
        ("k.f32", "f32", 0.5),
        ("k.f64", "f64", 0.1),
        ("k.bool", "bool", True),
        ("k.str", "str", "é"),
        ("k.texts", "[str]", ["a", "\u2581é".encode()]),
        ("k.numbers", "[i32]", [-1, 2]),
        ("k.none", "[f32]", []),
        ("k.bools", "[bool]", [True, False]),
    ]
    path = tmp_path / "m.gguf"
    with open(path, "wb") as file:
        writer = Writer(file, metadata, [("a", 0, (3,)), ("b", 8, (2, 32))])
        writer.write(bytes(12))
        writer.write(b"\1" * 34)
        with pytest.raises(ValueError):
            writer.write(bytes(35))
        with pytest.raises(ValueError):
            writer.close()
        writer.write(b"\2" * 34)
        writer.close()
    gguf = GGUF(path)
    assert gguf.types == {key: kind for key, kind, _ in metadata}
    assert gguf.metadata["k.texts"] == [b"a", "\u2581é".encode()]
    assert list(gguf.metadata["k.numbers"]) == [-1, 2]
    assert gguf.read(gguf.tensor("b")) == b"\1" * 34 + b"\2" * 34
    assert gguf.trailing_bytes == 0
    assert gguf.n_bytes % 32 == 0
    assert_same_as_oracle(path)


def test_gguf_summary_counts_long_arrays(tmp_path):
    fields, tensors = summary(make_llama(tmp_path / "m.gguf", dtype="q8_0"))
    assert fields["tokenizer.ggml.tokens"].endswith("elements")
    assert fields["llama.block_count"] == 2
    assert tensors[0][:4] == ("token_embd.weight", "Q8_0", fields["llama.vocab_size"], 128)


def read_hyper(change):
    file = valid()
    change(file)
    return hyper_parameters(GGUF(io.BytesIO(file.build())))


def test_hyper_fills_every_slot_of_llama(tmp_path):
    path = make_llama(tmp_path / "m.gguf", tied=False, biases=True)
    gguf = GGUF(path)
    hyper = hyper_parameters(gguf)
    assert len(hyper.sources) == 6 + 2 * 17
    q = hyper.sources[layer_slot(1, _abi.KLLM_T_Q)]
    assert (q.name, q.rows, q.cols) == ("blk.1.attn_q.weight", 128, 128)
    k = hyper.sources[layer_slot(1, _abi.KLLM_T_K)]
    assert (k.name, k.rows, k.cols) == ("blk.1.attn_k.weight", 64, 128)
    bias = hyper.sources[layer_slot(0, _abi.KLLM_T_K_BIAS)]
    assert (bias.name, bias.rows, bias.cols) == ("blk.0.attn_k.bias", 1, 64)
    assert not hyper.tied
    assert hyper.sources[_abi.KLLM_T_OUTPUT].name == "output.weight"
    assert hyper.sources[_abi.KLLM_T_ROPE] is None
    names = {source.name for source in hyper.sources if source}
    assert names == {tensor.name for tensor in gguf.tensors}


def test_hyper_splits_the_fused_rows_of_gpt2(tmp_path):
    path = make_gpt2(tmp_path / "m.gguf", dtype="q8_0")
    gguf = GGUF(path)
    hyper = hyper_parameters(gguf)
    data = path.read_bytes()
    for fused, slots in (
        ("attn_qkv.weight", (_abi.KLLM_T_Q, _abi.KLLM_T_K, _abi.KLLM_T_V)),
        ("attn_qkv.bias", (_abi.KLLM_T_Q_BIAS, _abi.KLLM_T_K_BIAS, _abi.KLLM_T_V_BIAS)),
    ):
        tensor = gguf.tensor("blk.1." + fused)
        parts = [hyper.sources[layer_slot(1, slot)] for slot in slots]
        joined = b"".join(data[p.off : p.off + p.n_bytes] for p in parts)
        assert joined == gguf.read(tensor)
        assert len({p.n_bytes for p in parts}) == 1
        assert {(p.rows, p.cols) for p in parts} == {(1 if "bias" in fused else 64, 64)}


def test_hyper_ties_output_to_the_embedding():
    hyper = read_hyper(lambda f: None)
    assert hyper.tied
    assert hyper.sources[_abi.KLLM_T_OUTPUT] is hyper.sources[_abi.KLLM_T_TOKEN_EMBD]


def test_hyper_reads_frequency_factors(tmp_path):
    path = make_llama(tmp_path / "m.gguf", rope_factors=[1.0, 8.0] * 8)
    assert hyper_parameters(GGUF(path)).rope_factors == (1.0, 8.0) * 8


@pytest.mark.parametrize(
    "kind, key, factor, scale",
    [(None, None, None, 1.0), (None, "rope.scaling.factor", 4.0, 0.25),
     ("linear", "rope.scaling.factor", 4.0, 0.25), ("linear", "rope.scale_linear", 2.0, 0.5),
     ("none", "rope.scaling.factor", 4.0, 1.0)],
)  # fmt: skip
def test_hyper_scales_positions(kind, key, factor, scale):
    def change(f):
        if kind:
            f.set("llama.rope.scaling.type", STR, kind)
        if key:
            f.set("llama." + key, F32, factor)

    assert read_hyper(change).rope_scale == scale


@pytest.mark.parametrize("kind", ["yarn", "longrope", "ntk"])
def test_hyper_refuses_scaling_it_does_not_know(kind):
    with pytest.raises(KllmError, match=r"UNSUPPORTED.*rope\.scaling\.type") as caught:
        read_hyper(lambda f: f.set("llama.rope.scaling.type", STR, kind))
    assert caught.value.code == _abi.KLLM_ERR_UNSUPPORTED


@pytest.mark.parametrize("window, n_ctx", [(0, 16), (8, 8), (16, 16), (4096, 16)])
def test_hyper_ends_the_context_where_a_sliding_window_would_slide(window, n_ctx):
    hyper = read_hyper(lambda f: f.set("llama.attention.sliding_window", U64, window))
    assert hyper.n_ctx_train == n_ctx


def test_hyper_takes_defaults_where_keys_are_absent():
    def change(f):
        for key in ("attention.head_count_kv", "rope.dimension_count", "vocab_size",
                    "rope.freq_base"):  # fmt: skip
            del f.pairs["llama." + key]

    hyper = read_hyper(change)
    assert (hyper.n_head_kv, hyper.n_rot, hyper.n_vocab, hyper.rope_base) == (1, 32, 4, 10000.0)


def test_hyper_takes_head_dim_from_key_length(tmp_path):
    """Heads need not fill the embedding: 2 heads of 64 over an embedding of 32 elements."""
    file = valid()
    file.set("llama.attention.key_length", U64, 64)
    file.set("llama.rope.dimension_count", U64, 64)
    for name in ("attn_q", "attn_k", "attn_v"):
        info = file.info(f"blk.0.{name}.weight")
        info.dims, info.data = [32, 64], bytes(34 * 64)
    out = file.info("blk.0.attn_output.weight")
    out.dims, out.data = [64, 32], bytes(34 * 64)
    hyper = hyper_parameters(GGUF(io.BytesIO(file.build())))
    assert (hyper.head_dim, hyper.n_embd, hyper.attn_scale) == (64, 32, 0.125)


def test_hyper_refuses_another_attention_scale():
    read_hyper(lambda f: f.set("llama.attention.scale", F32, 32**-0.5))
    with pytest.raises(KllmError, match=r"attention\.scale"):
        read_hyper(lambda f: f.set("llama.attention.scale", F32, 0.5))
