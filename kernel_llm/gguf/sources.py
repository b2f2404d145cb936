"""Where the tensors of an image lie in a GGUF file, each in the shape the model must have."""

from kernel_llm import _abi
from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_UNSUPPORTED
from kernel_llm.errors import KllmError
from kernel_llm.gguf.fields import fail
from kernel_llm.gguf.types import DTYPES

_BF16 = 30  # exact in f32
_VECTOR_DTYPES = (_abi.KLLM_F32, _abi.KLLM_F16, _BF16)
_MATRIX_DTYPES = (
    _abi.KLLM_F32,
    _abi.KLLM_F16,
    _BF16,
    _abi.KLLM_Q4_0,
    _abi.KLLM_Q4_1,
    _abi.KLLM_Q8_0,
)

# Tensors of a layer: (slot, name, rows, cols, True if required). rows and cols are names of
# Hyper's numbers; a vector has rows 1.
_LLAMA_LAYER = (
    (_abi.KLLM_T_ATTN_NORM, "attn_norm.weight", "one", "n_embd", True),
    (_abi.KLLM_T_Q, "attn_q.weight", "n_q", "n_embd", True),
    (_abi.KLLM_T_Q_BIAS, "attn_q.bias", "one", "n_q", False),
    (_abi.KLLM_T_K, "attn_k.weight", "n_kv", "n_embd", True),
    (_abi.KLLM_T_K_BIAS, "attn_k.bias", "one", "n_kv", False),
    (_abi.KLLM_T_V, "attn_v.weight", "n_kv", "n_embd", True),
    (_abi.KLLM_T_V_BIAS, "attn_v.bias", "one", "n_kv", False),
    (_abi.KLLM_T_O, "attn_output.weight", "n_embd", "n_q", True),
    (_abi.KLLM_T_O_BIAS, "attn_output.bias", "one", "n_embd", False),
    (_abi.KLLM_T_FFN_NORM, "ffn_norm.weight", "one", "n_embd", True),
    (_abi.KLLM_T_GATE, "ffn_gate.weight", "n_ff", "n_embd", True),
    (_abi.KLLM_T_UP, "ffn_up.weight", "n_ff", "n_embd", True),
    (_abi.KLLM_T_UP_BIAS, "ffn_up.bias", "one", "n_ff", False),
    (_abi.KLLM_T_DOWN, "ffn_down.weight", "n_embd", "n_ff", True),
    (_abi.KLLM_T_DOWN_BIAS, "ffn_down.bias", "one", "n_embd", False),
)
_GPT2_LAYER = (
    (_abi.KLLM_T_ATTN_NORM, "attn_norm.weight", "one", "n_embd", True),
    (_abi.KLLM_T_ATTN_NORM_BIAS, "attn_norm.bias", "one", "n_embd", True),
    (_abi.KLLM_T_Q, "attn_qkv.weight", "n_qkv", "n_embd", True),
    (_abi.KLLM_T_Q_BIAS, "attn_qkv.bias", "one", "n_qkv", True),
    (_abi.KLLM_T_O, "attn_output.weight", "n_embd", "n_embd", True),
    (_abi.KLLM_T_O_BIAS, "attn_output.bias", "one", "n_embd", True),
    (_abi.KLLM_T_FFN_NORM, "ffn_norm.weight", "one", "n_embd", True),
    (_abi.KLLM_T_FFN_NORM_BIAS, "ffn_norm.bias", "one", "n_embd", True),
    (_abi.KLLM_T_UP, "ffn_up.weight", "n_ff", "n_embd", True),
    (_abi.KLLM_T_UP_BIAS, "ffn_up.bias", "one", "n_ff", True),
    (_abi.KLLM_T_DOWN, "ffn_down.weight", "n_embd", "n_ff", True),
    (_abi.KLLM_T_DOWN_BIAS, "ffn_down.bias", "one", "n_embd", True),
)
_LLAMA_MODEL = (
    (_abi.KLLM_T_TOKEN_EMBD, "token_embd.weight", "n_vocab", "n_embd", True),
    (_abi.KLLM_T_OUT_NORM, "output_norm.weight", "one", "n_embd", True),
    (_abi.KLLM_T_OUTPUT, "output.weight", "n_vocab", "n_embd", False),
)
_GPT2_MORE = (
    (_abi.KLLM_T_POS_EMBD, "position_embd.weight", "n_ctx_train", "n_embd", True),
    (_abi.KLLM_T_OUT_NORM_BIAS, "output_norm.bias", "one", "n_embd", True),
)
_GPT2_MODEL = _LLAMA_MODEL + _GPT2_MORE


class Source:
    """
    Where the rows of one image tensor lie in the GGUF file: n_bytes bytes at off.

    name: of the GGUF tensor. dtype: GGUF's id. rows, cols: a vector has 1 row.
    """

    def __init__(self, name, dtype, rows, cols, off, n_bytes):
        self.name = name
        self.dtype = dtype
        self.rows = rows
        self.cols = cols
        self.off = off
        self.n_bytes = n_bytes

    def rows_of(self, first, rows):
        """Returns the Source of rows first .. first + rows; of a vector, of its elements."""
        vector = self.rows == 1
        item_bytes = self.n_bytes // (self.cols if vector else self.rows)
        return Source(
            self.name,
            self.dtype,
            1 if vector else rows,
            rows if vector else self.cols,
            self.off + first * item_bytes,
            rows * item_bytes,
        )


def find_sources(gguf, hyper):
    """
    Returns the list of Sources of a model, by tensor slot; None where there is no tensor.

    gguf: GGUF. hyper: its Hyper, whose numbers give the shapes.
    Raises KllmError naming the tensor that is missing, of another shape or type, or unknown.
    """
    is_llama = hyper.arch == _abi.KLLM_ARCH_LLAMA
    used = {"rope_freqs.weight"} if is_llama else set()
    model = _LLAMA_MODEL if is_llama else _GPT2_MODEL
    layer = _LLAMA_LAYER if is_llama else _GPT2_LAYER
    sources = [None] * (_abi.KLLM_T_MODEL_COUNT + hyper.n_layer * _abi.KLLM_T_LAYER_COUNT)
    for slot, name, rows, cols, required in model:
        sources[slot] = _source(gguf, hyper, name, rows, cols, required, used)
    if sources[_abi.KLLM_T_OUTPUT] is None:  # tied
        sources[_abi.KLLM_T_OUTPUT] = sources[_abi.KLLM_T_TOKEN_EMBD]
    for idx in range(hyper.n_layer):
        base = _abi.KLLM_T_MODEL_COUNT + idx * _abi.KLLM_T_LAYER_COUNT
        for slot, name, rows, cols, required in layer:
            name = "blk.%d.%s" % (idx, name)
            sources[base + slot] = _source(gguf, hyper, name, rows, cols, required, used)
        used.add("blk.%d.attn_rot_embd" % idx)  # in old files; holds nothing that is not known
        if not is_llama:
            _split_qkv(hyper, sources, base)
    for tensor in gguf.tensors:
        if tensor.name not in used:
            text = "not part of a model this build knows"
            fail(KLLM_ERR_UNSUPPORTED, "tensor %r" % tensor.name, tensor.info_off, text)
    return sources


def _source(gguf, hyper, name, rows, cols, required, used):
    tensor = gguf.tensor(name)
    if tensor is None:
        if required:
            raise KllmError(KLLM_ERR_FORMAT, "tensor %r is missing" % name)
        return None
    used.add(name)
    vector = rows == "one"
    rows, cols = getattr(hyper, rows), getattr(hyper, cols)
    want = (cols,) if vector else (rows, cols)
    if tensor.dims != want:
        text = "has the shape %s, not %s" % (list(tensor.dims), list(want))
        fail(KLLM_ERR_FORMAT, "tensor %r dims" % name, tensor.info_off, text)
    known = _VECTOR_DTYPES if vector else _MATRIX_DTYPES
    if tensor.dtype not in known:
        text = "%s; the types known here are %s" % (
            DTYPES[tensor.dtype][0],
            ", ".join([DTYPES[dtype][0] for dtype in known]),
        )
        fail(KLLM_ERR_UNSUPPORTED, "tensor %r type" % name, tensor.info_off, text)
    return Source(name, tensor.dtype, rows, cols, tensor.off, tensor.n_bytes)


def _split_qkv(hyper, sources, base):
    """Puts the rows of gpt2's fused matrix, and of its bias, into the slots of Q, K and V."""
    n = hyper.n_embd
    for fused, slots in (
        (_abi.KLLM_T_Q, (_abi.KLLM_T_Q, _abi.KLLM_T_K, _abi.KLLM_T_V)),
        (_abi.KLLM_T_Q_BIAS, (_abi.KLLM_T_Q_BIAS, _abi.KLLM_T_K_BIAS, _abi.KLLM_T_V_BIAS)),
    ):
        source = sources[base + fused]
        for idx in range(3):
            sources[base + slots[idx]] = source.rows_of(idx * n, n)
