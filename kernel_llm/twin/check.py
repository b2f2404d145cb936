# SPDX-License-Identifier: Apache-2.0
"""
Checks a packed image in plain Python, as native/src/image.c does.

The vocabulary is not checked entry by entry: instead the checksum of the whole body must be right.
That finds every accident; an image made to do harm is for the C core to refuse.
"""

import binascii
import struct

from kernel_llm import _abi

_HEADER_BYTES, _FIELDS = _abi.KLLM_IMAGE
_ENTRY_BYTES = _abi.KLLM_TENSOR[0]
_VOCAB_BYTES, _VOCAB_FIELDS = _abi.KLLM_VOCAB

LLAMA = 1 << _abi.KLLM_ARCH_LLAMA
GPT2 = 1 << _abi.KLLM_ARCH_GPT2
# dtype: bytes of 32 columns of 16 rows
_GROUP_BYTES = {_abi.KLLM_Q4_0: 288, _abi.KLLM_Q4_1: 320, _abi.KLLM_Q8_0: 544}


class Header:
    """Every number of struct kllm_image as an attribute."""

    def __init__(self, data):
        for name, (off, kind) in _FIELDS.items():
            if isinstance(kind, str):
                setattr(self, name, struct.unpack_from(kind, data, off)[0])

    def tensor(self, data, idx):
        """Returns (offset, bytes, dtype, rows, cols) of an entry of the tensor table."""
        return struct.unpack_from("<QQIII", data, self.tensors_off + idx * _ENTRY_BYTES)


class Bad(Exception):
    """An image is refused: a negative kllm_status, and the byte where it is wrong."""

    def __init__(self, status, off):
        super().__init__("image: %d at byte %d" % (status, off))
        self.status = status
        self.off = off


def tensor_bytes(dtype, rows, cols):
    """Returns the bytes of a tensor in an image, 0 if it cannot exist."""
    if not (0 < rows <= _abi.KLLM_MAX_VOCAB and 0 < cols <= _abi.KLLM_MAX_FF):
        return 0
    if dtype in (_abi.KLLM_F32, _abi.KLLM_F16):
        return rows * cols * (4 if dtype == _abi.KLLM_F32 else 2)
    if dtype not in _GROUP_BYTES or cols % _abi.KLLM_QK:
        return 0
    group = cols // _abi.KLLM_QK * _GROUP_BYTES[dtype]
    return (rows + _abi.KLLM_GROUP - 1) // _abi.KLLM_GROUP * (group + -group % _abi.KLLM_ALIGN)


def check_image(data):
    """Returns the Header of an image, a buffer, or raises Bad."""
    if len(data) < _HEADER_BYTES or data[:4] != struct.pack("<I", _abi.KLLM_IMAGE_MAGIC):
        raise Bad(_abi.KLLM_ERR_FORMAT, 0)
    m = Header(data)
    if m.layout != _abi.KLLM_IMAGE_LAYOUT:
        raise Bad(_abi.KLLM_ERR_ABI, _FIELDS["layout"][0])
    crc_off = _FIELDS["header_crc"][0]
    _require(binascii.crc32(data[:crc_off]) == m.header_crc, "header_crc")
    _require(m.reserved2 == 0, "reserved2")
    _check_shape(m)
    _check_sections(m, data)
    rules = _model_rules(m), _layer_rules(m)
    n_model = _abi.KLLM_T_MODEL_COUNT
    for i in range(m.n_tensors):
        per_layer = (i - n_model) % _abi.KLLM_T_LAYER_COUNT
        rule = rules[0][i] if i < n_model else rules[1][per_layer]
        if not _tensor_fits(m, m.tensor(data, i), rule):
            raise Bad(_abi.KLLM_ERR_FORMAT, m.tensors_off + i * _ENTRY_BYTES)
    _check_body(m, data)
    return m


def _require(holds, field):
    if not holds:
        raise Bad(_abi.KLLM_ERR_FORMAT, _FIELDS[field][0])


def _check_shape(m):
    if m.arch not in (_abi.KLLM_ARCH_LLAMA, _abi.KLLM_ARCH_GPT2):
        raise Bad(_abi.KLLM_ERR_UNSUPPORTED, _FIELDS["arch"][0])
    _require(0 < m.n_layer <= _abi.KLLM_MAX_LAYER, "n_layer")
    _require(0 < m.n_embd <= _abi.KLLM_MAX_EMBD and m.n_embd % _abi.KLLM_QK == 0, "n_embd")
    _require(0 < m.n_head <= _abi.KLLM_MAX_HEAD, "n_head")
    _require(0 < m.n_head_kv <= m.n_head and m.n_head % m.n_head_kv == 0, "n_head_kv")
    in_range = 0 < m.head_dim <= _abi.KLLM_MAX_HEAD_DIM and m.head_dim % _abi.KLLM_QK == 0
    _require(in_range and m.n_head * m.head_dim <= _abi.KLLM_MAX_FF, "head_dim")
    if m.arch == _abi.KLLM_ARCH_LLAMA:
        known = m.rope in (_abi.KLLM_ROPE_ADJACENT, _abi.KLLM_ROPE_HALF)
        _require(known and 0 < m.n_rot <= m.head_dim and m.n_rot % 2 == 0, "rope")
    else:
        _require(m.rope == _abi.KLLM_ROPE_NONE and m.n_rot == 0, "rope")
    _require(0 < m.n_ff <= _abi.KLLM_MAX_FF and m.n_ff % _abi.KLLM_QK == 0, "n_ff")
    _require(0 < m.n_vocab <= _abi.KLLM_MAX_VOCAB, "n_vocab")
    _require(0 < m.n_ctx_train <= _abi.KLLM_MAX_CTX, "n_ctx_train")
    _require(0 < m.norm_eps < 1, "norm_eps")
    _require(0 < m.attn_scale <= 1, "attn_scale")
    n_tensors = _abi.KLLM_T_MODEL_COUNT + m.n_layer * _abi.KLLM_T_LAYER_COUNT
    _require(m.n_tensors == n_tensors, "n_tensors")


def _check_sections(m, data):
    table_end = _HEADER_BYTES + m.n_tensors * _ENTRY_BYTES
    _require(_HEADER_BYTES <= m.n_bytes <= len(data), "n_bytes")
    _require(m.weights_off <= m.n_bytes and m.weights_off % _abi.KLLM_ALIGN == 0, "weights_off")
    _require(m.vocab_off <= m.weights_off and m.vocab_off % _abi.KLLM_ALIGN == 0, "vocab_off")
    _require(m.vocab_bytes <= m.weights_off - m.vocab_off, "vocab_bytes")
    _require(m.tensors_off == _HEADER_BYTES and table_end <= m.vocab_off, "tensors_off")
    _require(binascii.crc32(data[_HEADER_BYTES:table_end]) == m.table_crc, "table_crc")


def _check_body(m, data):
    if m.vocab_bytes < _VOCAB_BYTES:
        raise Bad(_abi.KLLM_ERR_FORMAT, m.vocab_off)
    _require(binascii.crc32(data[m.vocab_off : m.n_bytes]) == m.body_crc, "body_crc")
    for name, low, high in (
        ("magic", _abi.KLLM_VOCAB_MAGIC, _abi.KLLM_VOCAB_MAGIC),
        ("layout", _abi.KLLM_VOCAB_LAYOUT, _abi.KLLM_VOCAB_LAYOUT),
        ("n_bytes", _VOCAB_BYTES, m.vocab_bytes),
        ("n_vocab", m.n_vocab, m.n_vocab),
    ):
        off, kind = _VOCAB_FIELDS[name]
        if not low <= struct.unpack_from(kind, data, m.vocab_off + off)[0] <= high:
            status = _abi.KLLM_ERR_ABI if name == "layout" else _abi.KLLM_ERR_FORMAT
            raise Bad(status, m.vocab_off + off)


def _tensor_fits(m, entry, rule):
    off, n_bytes, dtype, rows, cols = entry
    expected_rows, expected_cols, f32_only, required = rule
    if dtype == _abi.KLLM_NONE:
        return not required >> m.arch & 1 and off == 0 and n_bytes == 0
    return (
        (dtype == _abi.KLLM_F32 or not f32_only)
        and rows == expected_rows
        and cols == expected_cols
        and n_bytes == tensor_bytes(dtype, rows, cols) != 0
        and off % _abi.KLLM_ALIGN == 0
        and m.weights_off <= off <= m.n_bytes
        and n_bytes <= m.n_bytes - off
    )


def _model_rules(m):
    """Returns (rows, cols, only f32, for whom it is required) of each tensor of the model."""
    return (
        (m.n_vocab, m.n_embd, False, LLAMA | GPT2),
        (m.n_ctx_train, m.n_embd, True, GPT2),
        (1, m.n_embd, True, LLAMA | GPT2),
        (1, m.n_embd, True, GPT2),
        (m.n_vocab, m.n_embd, False, LLAMA | GPT2),
        (m.n_ctx_train, m.n_rot, True, LLAMA),
    )


def _layer_rules(m):
    """Returns the same of each tensor of a layer, in the order of kllm_layer_tensor_slot."""
    n_q, n_kv = m.n_head * m.head_dim, m.n_head_kv * m.head_dim
    norm = ((1, m.n_embd, True, LLAMA | GPT2), (1, m.n_embd, True, GPT2))
    rules = list(norm)
    for rows, cols in ((n_q, m.n_embd), (n_kv, m.n_embd), (n_kv, m.n_embd), (m.n_embd, n_q)):
        rules += [(rows, cols, False, LLAMA | GPT2), (1, rows, True, 0)]
    rules += norm
    rules.append((m.n_ff, m.n_embd, False, LLAMA))
    for rows, cols in ((m.n_ff, m.n_embd), (m.n_embd, m.n_ff)):
        rules += [(rows, cols, False, LLAMA | GPT2), (1, rows, True, 0)]
    return rules
