# SPDX-License-Identifier: Apache-2.0
"""Writes the trained model as GGUF with the `gguf` package: same weights, same bytes."""

import json

import gguf
import torch

ARCH = "llama"
NAME = "shakespeare-2m"
FILE_TYPE = {"f32": 0, "q4_0": 2, "q8_0": 7}  # general.file_type
DTYPE = {
    "f32": gguf.GGMLQuantizationType.F32,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def tensor_names(model):
    """Yields (GGUF name, parameter); training uses GGUF's names."""
    for name, parameter in model.named_parameters():
        yield name if name.endswith(".weight") else name + ".weight", parameter


def write(model, tokenizer, kind, path):
    """Writes the model to path; kind ("f32", "q8_0", "q4_0") is the type of the matrices."""
    shape, out = model.shape, gguf.GGUFWriter(path, ARCH)
    out.add_name(NAME)
    out.add_license("apache-2.0")
    out.add_file_type(FILE_TYPE[kind])
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    out.add_vocab_size(shape["n_vocab"])
    out.add_context_length(shape["n_ctx"])
    out.add_embedding_length(shape["n_embd"])
    out.add_block_count(shape["n_layer"])
    out.add_feed_forward_length(shape["n_ff"])
    out.add_head_count(shape["n_head"])
    out.add_head_count_kv(shape["n_head_kv"])
    out.add_rope_dimension_count(shape["head_dim"])
    out.add_rope_freq_base(shape["rope_base"])
    out.add_layer_norm_rms_eps(shape["norm_eps"])
    write_vocab(out, tokenizer)
    for name, parameter in tensor_names(model):
        data = parameter.detach().numpy()
        if data.ndim == 2:
            data = gguf.quants.quantize(data, DTYPE[kind])
            out.add_tensor(name, data, raw_dtype=DTYPE[kind])
        else:
            out.add_tensor(name, data)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_vocab(out, tokenizer):
    """Adds the byte-level BPE vocabulary; <|endoftext|> begins and ends a document."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([control if token == "<|endoftext|>" else normal for token in tokens])
    out.add_token_merges([" ".join(pair) for pair in model["merges"]])
    out.add_bos_token_id(model["vocab"]["<|endoftext|>"])
    out.add_eos_token_id(model["vocab"]["<|endoftext|>"])
    out.add_add_bos_token(False)  # a prompt may begin in the middle of a scene


def load_weights(model, path):
    """Replaces the weights of the model by those of the GGUF file at path, as f32."""
    parameters = dict(tensor_names(model))
    for tensor in gguf.GGUFReader(path).tensors:
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        parameter = parameters.pop(tensor.name)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(data.reshape(parameter.shape).copy()))
    if parameters:
        raise ValueError(f"{path}: tensors {sorted(parameters)} are missing")
