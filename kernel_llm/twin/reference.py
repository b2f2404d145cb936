# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: B905 (MicroPython's zip takes no keywords)
"""
Every kernel in plain Python: the oracle for the C definitions, bit for bit.

Floats are Python floats that hold binary32 values; vectors are lists; packed weights, f16 rows and
caches are bytes in the layouts of native/src/layout.h. It knows nothing of the C code: each
operation is written from its comment in native/src/kernels.h. Slow, and finite inputs only.
"""

import math
import struct
from array import array

from kernel_llm.twin.quant import f16_value

QK = 32
GROUP = 16
N_OUTLIER = 4
EXP_MIN, EXP_MAX = -87.0, 88.0
TINY = 2.0**-120
LN2_HI = 0.693145751953125  # 16 significant bits


_CELL = array("f", [0.0])


def f32(x):
    """Returns x rounded to the nearest binary32, ties to even; infinity where it is too large."""
    _CELL[0] = x
    return _CELL[0]


def fma(a, b, c):
    """
    Returns a * b + c rounded once to binary32.

    The product of two binary32 is exact in binary64. The sum is rounded there to odd, not to
    even: with more than two spare bits the second rounding is then right.
    """
    product = a * b
    total = product + c
    if total - total != 0.0:  # infinite, or no number
        return f32(total)
    part = total - product
    error = (product - (total - part)) + (c - part)
    if error != 0.0:
        bits = struct.unpack("<q", struct.pack("<d", total))[0]
        if bits & 1 == 0:
            bits += 1 if (error > 0.0) == (total > 0.0) else -1
            total = struct.unpack("<d", struct.pack("<q", bits))[0]
    return f32(total)


def add(a, b):
    """Returns a + b in binary32: binary64 is wide enough that rounding twice is harmless."""
    return f32(a + b)


def mul(a, b):
    """Returns a * b in binary32."""
    return f32(a * b)


def div(a, b):
    """Returns a / b in binary32, with infinities instead of errors."""
    if b == 0.0:
        return math.nan if a == 0.0 else math.copysign(math.inf, a) * math.copysign(1.0, b)
    return f32(a / b)


def tree(lane):
    """Adds 16 lanes pairwise: j with j + 8, then + 4, + 2, + 1."""
    while len(lane) > 1:
        half = len(lane) // 2
        lane = [add(lane[j], lane[j + half]) for j in range(half)]
    return lane[0]


def dot(a, b):
    lane = [0.0] * 16
    for i in range(len(a)):
        lane[i % 16] = fma(a[i], b[i], lane[i % 16])
    return tree(lane)


def sum_(x):
    lane = [0.0] * 16
    for i in range(len(x)):
        lane[i % 16] = add(lane[i % 16], x[i])
    return tree(lane)


def argmax(x):
    return x.index(max(x))


COEFFICIENTS = [f32(c) for c in (0.000198992871, 0.00139336521, 0.0083332984, 0.0416664667,
                                 0.166666672, 0.5)]  # fmt: skip


def exp(x):
    """Returns e^x by the polynomial of libm.h, x clamped to [-87, 88]."""
    x = min(max(x, EXP_MIN), EXP_MAX)
    k = float(round(x * f32(1.44269504)))  # exact in binary64; then the nearest integer
    r = fma(k, -f32(1.42860677e-6), fma(k, -LN2_HI, x))
    p = COEFFICIENTS[0]
    for c in COEFFICIENTS[1:]:
        p = fma(p, r, c)
    p = fma(mul(p, r), r, r)
    scale = 2.0**k
    return fma(p, scale, scale)


def softmax(x, scale):
    s = [mul(v, scale) for v in x]
    e = [exp(add(v, -max(s))) for v in s]
    r = div(1.0, sum_(e))
    return [mul(v, r) for v in e]


def sigmoid_times(x, u):
    """Returns x * sigmoid(u)."""
    return div(x, add(1.0, exp(-u)))


def swiglu(gate, up):
    return [mul(sigmoid_times(g, g), u) for g, u in zip(gate, up)]


def gelu(x):
    c1, c3 = f32(1.59576912), f32(0.0713548163)
    return [sigmoid_times(v, mul(fma(mul(v, v), c3, c1), v)) for v in x]


def inverse_root(square_sum, n, eps):
    """Returns 1 / sqrt(square_sum / n + eps)."""
    return div(1.0, f32(math.sqrt(add(div(square_sum, float(n)), eps))))


def rmsnorm(x, w, eps):
    r = inverse_root(dot(x, x), len(x), eps)
    return [mul(mul(v, r), weight) for v, weight in zip(x, w)]


def layernorm(x, w, b, eps):
    mean = div(sum_(x), float(len(x)))
    y = [add(v, -mean) for v in x]
    r = inverse_root(dot(y, y), len(y), eps)
    return [fma(mul(v, r), weight, bias) for v, weight, bias in zip(y, w, b)]


def rope(x, cs, n_head, head_dim, n_rot, adjacent):
    """Returns x [n_head][head_dim] with the first n_rot elements of each head rotated."""
    y = list(x)
    for h in range(n_head):
        for i in range(n_rot // 2):
            first = h * head_dim + (2 * i if adjacent else i)
            second = first + (1 if adjacent else n_rot // 2)
            a, b, c, s = x[first], x[second], cs[2 * i], cs[2 * i + 1]
            y[first] = fma(a, c, -mul(b, s))
            y[second] = fma(a, s, mul(b, c))
    return y


def quantize(x):
    """Returns quants, scales of the blocks, and their sums of quants."""
    q, d, sums = [], [], []
    for b in range(0, len(x), QK):
        block = x[b : b + QK]
        amax = max(abs(v) for v in block)
        inverse = 0.0 if amax < TINY else div(127.0, amax)
        q += [round(mul(v, inverse)) for v in block]
        d.append(0.0 if amax < TINY else div(amax, 127.0))
        sums.append(sum(q[b:]))
    return q, d, sums


def q8_row(x):
    """Returns the bytes of a "q8" row."""
    q, d, sums = quantize(x)
    row = struct.pack(f"<{len(q)}b{len(d)}f{len(d)}i", *q, *d, *sums)
    return row + bytes(-len(row) % 64)


class Matrix:
    """Packed weights: the numbers behind the bytes. kind: "f32", "f16", "q4_0", "q4_1", "q8_0"."""

    def __init__(self, kind, data, cols):
        self.kind = kind
        self.data = data
        self.cols = cols
        self.block_bytes = 512 if kind == "q8_0" else 256
        self.scale_bytes = 64 if kind == "q4_1" else 32
        self.quants_bytes = cols // QK * self.block_bytes
        n_bytes = self.quants_bytes + cols // QK * self.scale_bytes
        self.group_bytes = n_bytes + -n_bytes % 64

    def quant(self, row, col):
        """Returns the integer of an element, with its bias taken off."""
        i = col % QK
        start = row // GROUP * self.group_bytes + col // QK * self.block_bytes
        chunk = i // 4 if self.kind == "q8_0" else i % 16 // 4
        byte = self.data[start + chunk * 64 + row % GROUP * 4 + i % 4]
        if self.kind == "q8_0":
            return byte - 256 if byte > 127 else byte
        nibble = byte & 15 if i < 16 else byte >> 4
        return nibble - 8 if self.kind == "q4_0" else nibble

    def scale(self, row, block, which=0):
        """Returns the scale of a block, or its offset m where which is 1."""
        start = row // GROUP * self.group_bytes + self.quants_bytes + block * self.scale_bytes
        start += which * 32 + row % GROUP * 2
        return f16_value(struct.unpack_from("<H", self.data, start)[0])

    def row(self, row):
        """Returns a row as floats: what dequantize gives."""
        if self.kind == "f32":
            return list(struct.unpack_from(f"<{self.cols}f", self.data, row * self.cols * 4))
        if self.kind == "f16":
            half = struct.unpack_from(f"<{self.cols}H", self.data, row * self.cols * 2)
            return [f16_value(bits) for bits in half]
        return [self.element(row, col) for col in range(self.cols)]

    def element(self, row, col):
        quant = float(self.quant(row, col))
        if self.kind == "q4_1":
            return fma(quant, self.scale(row, col // QK), self.scale(row, col // QK, 1))
        return mul(quant, self.scale(row, col // QK))


def matmul(matrix, rows, x):
    """Returns y [n_token][rows]; x [n_token][cols] floats, quantised where the weights are."""
    if matrix.kind in ("f32", "f16"):
        return [[dot(matrix.row(r), row) for r in range(rows)] for row in x]
    return [[quantised_dot(matrix, r, *act) for r in range(rows)] for act in map(quantize, x)]


def quantised_dot(matrix, row, q, d, sums):
    acc = 0.0
    for b in range(matrix.cols // QK):
        s = sum(matrix.quant(row, c) * q[c] for c in range(b * QK, (b + 1) * QK))
        acc = fma(float(s), mul(matrix.scale(row, b), d[b]), acc)
        if matrix.kind == "q4_1":
            acc = fma(float(sums[b]), mul(matrix.scale(row, b, 1), d[b]), acc)
    return acc


def attn_mix(p, v):
    """Returns out [n_head][n]; p [n_head][n_pos], v [n_pos][n] floats."""
    out = []
    for weights in p:
        acc = [0.0] * len(v[0])
        for weight, values in zip(weights, v):
            acc = [fma(weight, value, a) for value, a in zip(values, acc)]
        out.append(acc)
    return out


def attn_mix_q8(p, quants, scales):
    """
    Returns out [n_head][n] over a q8_0 cache.

    p: [n_head][n_pos]; quants: int [n_pos][n]; scales: float [n_pos][n / 32].
    """
    return [[mix_channel(weights, quants, scales, c) for c in range(len(quants[0]))]
            for weights in p]  # fmt: skip


def mix_channel(p, quants, scales, channel):
    n_pos = len(p)
    w = [mul(p[t], scales[t][channel // QK]) for t in range(n_pos)]
    q, d, _sums = quantize(w + [0.0] * (-n_pos % QK))
    acc = 0.0
    for b in range(len(d)):
        positions = range(b * QK, min((b + 1) * QK, n_pos))
        s = sum(q[t] * quants[t][channel] for t in positions)
        acc = fma(float(s), d[b], acc)
    return acc


def pick(x):
    """Returns the outliers [(value, index)] of x and what is left of x."""
    left = list(x)
    taken = []
    for _ in range(N_OUTLIER):
        largest = max(abs(v) for v in left)
        col = [abs(v) for v in left].index(largest) if largest > 0.0 else 0
        taken.append((left[col] if largest > 0.0 else 0.0, col))
        if largest > 0.0:
            left[col] = 0.0
    return taken, left


def patch(y, matrix, outliers):
    """Returns y [n_token][rows] with the outliers [n_token][(value, column)] added."""
    out = []
    for row_of_token, taken in zip(y, outliers):
        patched = list(row_of_token)
        for r in range(len(patched)):
            for value, col in taken:
                patched[r] = fma(matrix.element(r, col), value, patched[r])
        out.append(patched)
    return out
