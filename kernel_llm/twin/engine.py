# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: B905 (MicroPython's zip takes no keywords)
"""
The forward pass in plain Python: what runs where there is no C core.

It computes what native/src/forward.c does, by the definitions of reference.py, and gives the same
bits in every logit. It needs Python floats that are binary64. It is slow, and it allocates.
"""

import struct
from array import array

from kernel_llm import _abi
from kernel_llm.twin import reference as ref
from kernel_llm.twin.quant import f16_bits, f16_value

_KINDS = {_abi.KLLM_F32: "f32", _abi.KLLM_F16: "f16", _abi.KLLM_Q4_0: "q4_0",
          _abi.KLLM_Q4_1: "q4_1", _abi.KLLM_Q8_0: "q8_0"}  # fmt: skip
_QK = _abi.KLLM_QK


class Inputs:
    """A vector that matrices are multiplied by: floats x; outliers and quants where asked for."""

    def __init__(self, x):
        self.x = x
        self._quantised = None

    def quantised(self):
        """Returns (outliers, quants, scales, sums of quants)."""
        if self._quantised is None:
            outliers, left = ref.pick(self.x)
            quants, scales, sums = ref.quantize(left)
            self._quantised = outliers, array("b", quants), scales, sums
        return self._quantised


class Weights:
    """
    The rows of a matrix, unpacked: floats, or quants with the scales of their blocks.

    data: the tensor's bytes in the image.
    """

    def __init__(self, kind, data, rows, cols):
        self.n_block = cols // _QK
        self._packed = ref.Matrix(kind, data, cols)
        self.is_float = kind in ("f32", "f16")
        self.has_offset = kind == "q4_1"
        if self.is_float:
            self.rows = [array("f", self._packed.row(r)) for r in range(rows)]
            return
        quant, scale, blocks = self._packed.quant, self._packed.scale, range(self.n_block)
        self.rows = [array("b", [quant(r, c) for c in range(cols)]) for r in range(rows)]
        self.scales = [array("f", [scale(r, b) for b in blocks]) for r in range(rows)]
        if self.has_offset:
            self.offsets = [array("f", [scale(r, b, 1) for b in blocks]) for r in range(rows)]

    def row(self, row):
        """Returns a row as floats."""
        return self._packed.row(row)

    def multiply(self, inputs, bias=None):
        """Returns the product with Inputs, plus the bias if there is one."""
        if self.is_float:
            y = [ref.dot(row, inputs.x) for row in self.rows]
        else:
            y = [self._dot(r, inputs.quantised()) for r in range(len(self.rows))]
        return y if bias is None else [ref.add(v, b) for v, b in zip(y, bias)]

    def _dot(self, r, quantised):
        outliers, quants, scales, sums = quantised
        row, row_scales = self.rows[r], self.scales[r]
        acc = 0.0
        for b in range(self.n_block):
            total = 0
            for c in range(b * _QK, (b + 1) * _QK):
                total += row[c] * quants[c]
            acc = ref.fma(float(total), ref.mul(row_scales[b], scales[b]), acc)
            if self.has_offset:
                acc = ref.fma(float(sums[b]), ref.mul(self.offsets[r][b], scales[b]), acc)
        for value, col in outliers:
            acc = ref.fma(self._element(r, col), value, acc)
        return acc

    def _element(self, r, col):
        if self.has_offset:
            return ref.fma(self.rows[r][col], self.scales[r][col // _QK],
                           self.offsets[r][col // _QK])  # fmt: skip
        return ref.mul(self.rows[r][col], self.scales[r][col // _QK])


class HeadCache:
    """Keys and values of one KV head of a layer of a sequence, rounded as the arena has them."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.keys = []
        self.values = []

    def append(self, k, v):
        self.keys.append(self._kept(k))
        self.values.append(self._kept(v))

    def cut(self, n_token):
        del self.keys[n_token:]
        del self.values[n_token:]

    def _kept(self, x):
        """Returns what the cache keeps of a vector: floats, or (quants, scales) of q8_0."""
        if self.dtype == _abi.KLLM_F32:
            return array("f", x)
        if self.dtype == _abi.KLLM_F16:
            return array("f", [f16_value(f16_bits(v)) for v in x])
        quants, scales, _sums = ref.quantize(x)
        return array("b", quants), array("f", [f16_value(f16_bits(d)) for d in scales])

    def attend(self, q, scale):
        """Returns the values mixed by the attention of a query."""
        if self.dtype != _abi.KLLM_Q8_0:
            p = ref.softmax([ref.dot(k, q) for k in self.keys], scale)
            return ref.attn_mix([p], self.values)[0]
        quants, scales, _sums = ref.quantize(q)
        p = ref.softmax([self._score(k, quants, scales) for k in self.keys], scale)
        return ref.attn_mix_q8([p], [v[0] for v in self.values], [v[1] for v in self.values])[0]

    def _score(self, key, quants, scales):
        acc = 0.0
        for b in range(len(scales)):
            total = 0
            for c in range(b * _QK, (b + 1) * _QK):
                total += key[0][c] * quants[c]
            acc = ref.fma(float(total), ref.mul(key[1][b], scales[b]), acc)
        return acc


class Engine:
    """
    An open model.

    data: the bytes of an image that check.py has accepted. header: its Header.
    config: (n_ctx, n_batch, n_seq, n_logits, n_thread, kv_dtype).
    `history` holds the token ids of each sequence.
    """

    def __init__(self, data, header, config):
        self.data = data
        self.m = header
        self.n_ctx = config[0]
        self.n_logits = config[3]
        self._tensors = {}
        self.history = [[] for _ in range(config[2])]
        self._caches = [
            [[HeadCache(config[5]) for _ in range(header.n_head_kv)]
             for _ in range(header.n_layer)]
            for _ in range(config[2])
        ]  # fmt: skip

    def cut(self, seq, n_token):
        """Forgets all but the first n_token tokens of a sequence."""
        del self.history[seq][n_token:]
        for layer in self._caches[seq]:
            for cache in layer:
                cache.cut(n_token)

    def append(self, token, seq):
        """Appends a token to a sequence; returns the residual stream after all layers."""
        pos = len(self.history[seq])
        self.cut(seq, pos)  # an interrupt may have left a part of a token behind
        x = self._weights(_abi.KLLM_T_TOKEN_EMBD).row(token)
        positions = self._matrix_row(_abi.KLLM_T_POS_EMBD, pos)
        if positions is not None:
            x = _sum(x, positions)
        for layer in range(self.m.n_layer):
            x = self._run_layer(x, layer, seq, pos)
        self.history[seq].append(token)
        return x

    def logits(self, x):
        """Returns the logits behind a residual stream."""
        x = self._norm(x, _abi.KLLM_T_OUT_NORM)
        return self._weights(_abi.KLLM_T_OUTPUT).multiply(Inputs(x))

    def _run_layer(self, x, layer, seq, pos):
        first = _abi.KLLM_T_MODEL_COUNT + layer * _abi.KLLM_T_LAYER_COUNT
        inputs = Inputs(self._norm(x, first + _abi.KLLM_T_ATTN_NORM))
        q, k, v = (self._linear(first + idx, inputs)
                   for idx in (_abi.KLLM_T_Q, _abi.KLLM_T_K, _abi.KLLM_T_V))  # fmt: skip
        mixed = self._attention(q, k, v, self._caches[seq][layer], pos)
        x = _sum(x, self._linear(first + _abi.KLLM_T_O, Inputs(mixed)))

        inputs = Inputs(self._norm(x, first + _abi.KLLM_T_FFN_NORM))
        up = self._linear(first + _abi.KLLM_T_UP, inputs)
        if self.m.arch == _abi.KLLM_ARCH_LLAMA:
            gate = self._weights(first + _abi.KLLM_T_GATE).multiply(inputs)
            inputs = Inputs(ref.swiglu(gate, up))
        else:
            inputs = Inputs(ref.gelu(up))
        return _sum(x, self._linear(first + _abi.KLLM_T_DOWN, inputs))

    def _attention(self, q, k, v, caches, pos):
        m, n = self.m, self.m.head_dim
        if m.rope != _abi.KLLM_ROPE_NONE:
            turns = self._matrix_row(_abi.KLLM_T_ROPE, pos)
            adjacent = m.rope == _abi.KLLM_ROPE_ADJACENT
            q = ref.rope(q, turns, m.n_head, n, m.n_rot, adjacent)
            k = ref.rope(k, turns, m.n_head_kv, n, m.n_rot, adjacent)
        mixed = []
        n_group = m.n_head // m.n_head_kv
        for h in range(m.n_head):
            cache, i = caches[h // n_group], h // n_group * n
            if h % n_group == 0:
                cache.append(k[i : i + n], v[i : i + n])
            mixed += cache.attend(q[h * n : (h + 1) * n], m.attn_scale)
        return mixed

    def _norm(self, x, idx):
        w, b = self._vector(idx), self._vector(idx + 1)
        if self.m.arch == _abi.KLLM_ARCH_GPT2:
            return ref.layernorm(x, w, b, self.m.norm_eps)
        return ref.rmsnorm(x, w, self.m.norm_eps)

    def _linear(self, idx, inputs):
        """Returns matrix idx times inputs, plus its bias, which is the tensor behind it."""
        return self._weights(idx).multiply(inputs, self._vector(idx + 1))

    def _weights(self, idx):
        """Returns a matrix, unpacked when it is first used; tied matrices are one."""
        off, n_bytes, dtype, rows, cols = self.m.tensor(self.data, idx)
        if off not in self._tensors:
            data = self.data[off : off + n_bytes]
            self._tensors[off] = Weights(_KINDS[dtype], data, rows, cols)
        return self._tensors[off]

    def _vector(self, idx):
        return self._matrix_row(idx, 0)

    def _matrix_row(self, idx, row):
        """Returns a row of an f32 tensor, None if the model has no such tensor."""
        off, _n_bytes, dtype, _rows, cols = self.m.tensor(self.data, idx)
        if dtype == _abi.KLLM_NONE:
            return None
        return struct.unpack_from("<%df" % cols, self.data, off + 4 * row * cols)


def _sum(x, y):
    return [ref.add(a, b) for a, b in zip(x, y)]
