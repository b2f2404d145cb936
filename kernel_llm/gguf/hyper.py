"""What a GGUF file says a model is: its hyper-parameters, and with them its tensors."""

import struct

from kernel_llm import _abi
from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE, KLLM_ERR_UNSUPPORTED
from kernel_llm.errors import KllmError
from kernel_llm.gguf.fields import fail
from kernel_llm.gguf.sources import find_sources
from kernel_llm.gguf.types import DTYPES

_QK = _abi.KLLM_QK
_EPS_BELOW = 0.999  # an image has one below 1, as float32


class Hyper:
    """
    Hyper-parameters, all within the limits of kllm.h.

    arch: KLLM_ARCH_*. rope: KLLM_ROPE_*. Integers: n_layer n_embd n_head n_head_kv head_dim n_rot
    n_ff n_vocab n_ctx_train. Floats: norm_eps, rope_base, rope_scale (what positions are
    multiplied by), attn_scale. Rows: n_q, n_kv and n_qkv of the projections, one of a vector.
    rope_factors: n_rot / 2 floats that divide the frequencies, or None.
    tied: the output matrix is the token embedding.
    sources: list of Source or None, by tensor slot: KLLM_T_MODEL_COUNT of the model, then
    KLLM_T_LAYER_COUNT for each layer. KLLM_T_ROPE is always None: it is computed.
    """


def hyper_parameters(gguf):
    """
    Returns the Hyper of a GGUF object whose model this build can run.

    Raises KllmError: UNSUPPORTED for what is valid but not implemented, FORMAT for what is missing
    or contradicts itself, RANGE for a number outside its range; the text names key or tensor.
    """
    arch = gguf.fields.string("general.architecture")
    hyper = Hyper()
    if arch == "llama":
        _read_shape(gguf, hyper, arch)
        _read_llama(gguf, hyper)
    elif arch == "gpt2":
        _read_shape(gguf, hyper, arch)
        _read_gpt2(gguf, hyper)
    else:
        text = "%r; llama and gpt2 are known" % arch
        gguf.fields.refuse(KLLM_ERR_UNSUPPORTED, "general.architecture", text)
    _read_vocab_size(gguf, hyper, arch)
    hyper.sources = find_sources(gguf, hyper)
    hyper.tied = gguf.tensor("output.weight") is None
    return hyper


def _read_shape(gguf, hyper, arch):
    """Reads what both architectures share."""
    fields = gguf.fields
    hyper.n_layer = fields.uint(arch + ".block_count", 1, _abi.KLLM_MAX_LAYER)
    hyper.n_embd = _whole_blocks(fields, arch + ".embedding_length", 1, _abi.KLLM_MAX_EMBD)
    n_layer = hyper.n_layer
    key = arch + ".attention.head_count"
    hyper.n_head = fields.uint_per_layer(key, n_layer, 1, _abi.KLLM_MAX_HEAD)
    key_kv = arch + ".attention.head_count_kv"
    hyper.n_head_kv = fields.uint_per_layer(key_kv, n_layer, 1, hyper.n_head, hyper.n_head)
    if hyper.n_head % hyper.n_head_kv:
        text = "%d does not divide the %d heads" % (hyper.n_head_kv, hyper.n_head)
        fields.refuse(KLLM_ERR_FORMAT, key_kv, text)
    _read_head_dim(fields, hyper, arch)
    key = arch + ".feed_forward_length"
    hyper.n_ff = fields.uint_per_layer(key, n_layer, 1, _abi.KLLM_MAX_FF)
    if hyper.n_ff % _QK:
        fields.refuse(KLLM_ERR_UNSUPPORTED, key, "%d is no multiple of %d" % (hyper.n_ff, _QK))
    hyper.n_ctx_train = fields.uint(arch + ".context_length", 1, _abi.KLLM_MAX_CTX)
    if fields.uint(arch + ".expert_count", 0, 65536, 0):
        fields.refuse(KLLM_ERR_UNSUPPORTED, arch + ".expert_count", "a mixture of experts")


def _whole_blocks(fields, key, low, high):
    value = fields.uint(key, low, high)
    if value % _QK:
        fields.refuse(KLLM_ERR_UNSUPPORTED, key, "%d is no multiple of %d" % (value, _QK))
    return value


def _read_head_dim(fields, hyper, arch):
    key = arch + ".attention.key_length"
    if key in fields.values:
        hyper.head_dim = _whole_blocks(fields, key, 1, _abi.KLLM_MAX_HEAD_DIM)
    else:
        key = arch + ".attention.head_count"
        if hyper.n_embd % hyper.n_head:
            text = "%d heads do not divide %s of %d"
            text = text % (hyper.n_head, "the embedding", hyper.n_embd)
            fields.refuse(KLLM_ERR_FORMAT, key, text)
        hyper.head_dim = hyper.n_embd // hyper.n_head
        if hyper.head_dim % _QK or hyper.head_dim > _abi.KLLM_MAX_HEAD_DIM:
            text = "heads of %d; a multiple of %d up to %d is needed"
            text = text % (hyper.head_dim, _QK, _abi.KLLM_MAX_HEAD_DIM)
            fields.refuse(KLLM_ERR_UNSUPPORTED, key, text)
    key = arch + ".attention.value_length"
    if fields.uint(key, 1, _abi.KLLM_MAX_EMBD, hyper.head_dim) != hyper.head_dim:
        text = "differs from the %d of the keys" % hyper.head_dim
        fields.refuse(KLLM_ERR_UNSUPPORTED, key, text)
    hyper.attn_scale = 1.0 / hyper.head_dim**0.5
    hyper.n_q = hyper.n_head * hyper.head_dim
    hyper.n_kv = hyper.n_head_kv * hyper.head_dim
    hyper.n_qkv = hyper.n_q + 2 * hyper.n_kv
    hyper.one = 1


def _read_llama(gguf, hyper):
    fields = gguf.fields
    hyper.arch = _abi.KLLM_ARCH_LLAMA
    hyper.rope = _abi.KLLM_ROPE_ADJACENT
    hyper.norm_eps = fields.positive("llama.attention.layer_norm_rms_epsilon", below=_EPS_BELOW)
    key = "llama.rope.dimension_count"
    hyper.n_rot = fields.uint(key, 1, hyper.head_dim, hyper.head_dim)
    if hyper.n_rot % 2:
        fields.refuse(KLLM_ERR_RANGE, key, "%d is odd" % hyper.n_rot)
    hyper.rope_base = fields.positive("llama.rope.freq_base", 10000.0)
    hyper.rope_scale = _rope_scale(fields)
    hyper.rope_factors = _rope_factors(gguf, hyper)
    # Within a window as long as the context, sliding attention is plain attention.
    key = "llama.attention.sliding_window"
    window = fields.uint(key, 0, (1 << 64) - 1, 0)
    if window:
        hyper.n_ctx_train = min(hyper.n_ctx_train, window)
    if not fields.boolean("llama.attention.causal", True):
        fields.refuse(KLLM_ERR_UNSUPPORTED, "llama.attention.causal", "not causal")
    _expect_number(fields, "llama.attention.scale", hyper.attn_scale)
    _expect_number(fields, "llama.rope.scaling.attn_factor", 1.0)


def _expect_number(fields, key, value):
    """Refuses a float that is there and is not value."""
    found = fields.positive(key, value)
    if abs(found - value) > 1e-6 * value:
        fields.refuse(KLLM_ERR_UNSUPPORTED, key, "%s, not %s" % (found, value))


def _rope_scale(fields):
    """Returns what positions are multiplied by: 1 / factor of linear scaling."""
    key = "llama.rope.scaling.type"
    kind = fields.string(key, "linear")
    if kind not in ("none", "linear"):
        fields.refuse(KLLM_ERR_UNSUPPORTED, key, "%r; none and linear are known" % kind)
    factor = fields.positive("llama.rope.scaling.factor", 1.0)
    factor = fields.positive("llama.rope.scale_linear", factor)
    return 1.0 if kind == "none" else 1.0 / factor


def _rope_factors(gguf, hyper):
    """Returns the frequency factors of rope_freqs.weight, or None."""
    name = "rope_freqs.weight"
    tensor = gguf.tensor(name)
    if tensor is None:
        return None
    half = hyper.n_rot // 2
    if tensor.dims != (half,) or tensor.dtype != _abi.KLLM_F32:
        text = "is %s %s, not F32 [%d]" % (DTYPES[tensor.dtype][0], list(tensor.dims), half)
        fail(KLLM_ERR_FORMAT, "tensor %r" % name, tensor.info_off, text)
    factors = struct.unpack("<%df" % half, gguf.read(tensor))
    for idx in range(half):
        if not 0.0 < factors[idx] <= 3.5e38:
            text = "factor %d is %s, not a positive finite number" % (idx, factors[idx])
            fail(KLLM_ERR_RANGE, "tensor %r" % name, tensor.off + 4 * idx, text)
    return factors


def _read_gpt2(gguf, hyper):
    fields = gguf.fields
    hyper.arch = _abi.KLLM_ARCH_GPT2
    hyper.rope = _abi.KLLM_ROPE_NONE
    hyper.norm_eps = fields.positive("gpt2.attention.layer_norm_epsilon", below=_EPS_BELOW)
    if hyper.n_head_kv != hyper.n_head or hyper.n_q != hyper.n_embd:
        text = "gpt2 with grouped queries or heads that do not fill the embedding"
        fields.refuse(KLLM_ERR_UNSUPPORTED, "gpt2.attention.head_count", text)
    hyper.n_rot = 0
    hyper.rope_base = 0.0
    hyper.rope_scale = 1.0
    hyper.rope_factors = None


def _read_vocab_size(gguf, hyper, arch):
    """Reads n_vocab from the embedding; tokens and vocab_size must agree with it."""
    name = "token_embd.weight"
    tensor = gguf.tensor(name)
    if tensor is None:
        raise KllmError(KLLM_ERR_FORMAT, "tensor %r is missing" % name)
    if len(tensor.dims) != 2:
        text = "has %d dimensions, not 2" % len(tensor.dims)
        fail(KLLM_ERR_FORMAT, "tensor %r dims" % name, tensor.info_off, text)
    hyper.n_vocab = tensor.dims[0]
    if hyper.n_vocab > _abi.KLLM_MAX_VOCAB:
        text = "%d tokens; at most %d" % (hyper.n_vocab, _abi.KLLM_MAX_VOCAB)
        fail(KLLM_ERR_RANGE, "tensor %r dims" % name, tensor.info_off, text)
    key = "tokenizer.ggml.tokens"
    if key in gguf.metadata:
        if gguf.types[key] != "[str]":
            text = "is %s, not [str]" % gguf.types[key]
            gguf.fields.refuse(KLLM_ERR_FORMAT, key, text)
        if len(gguf.metadata[key]) != hyper.n_vocab:
            text = "%d tokens, %d rows of %s" % (len(gguf.metadata[key]), hyper.n_vocab, name)
            gguf.fields.refuse(KLLM_ERR_FORMAT, key, text)
    key = arch + ".vocab_size"
    if gguf.fields.uint(key, 1, _abi.KLLM_MAX_VOCAB, hyper.n_vocab) != hyper.n_vocab:
        text = "differs from the %d rows of %s" % (hyper.n_vocab, name)
        gguf.fields.refuse(KLLM_ERR_FORMAT, key, text)
