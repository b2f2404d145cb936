# SPDX-License-Identifier: Apache-2.0
"""The kernels' C definitions against plain Python, bit for bit; plain Python against math."""

import math
import struct
from fractions import Fraction

import pytest

from kernel_llm import _abi
from kernel_llm._native_cffi import ffi, lib
from kernel_llm.twin import reference as ref

LENGTHS = [1, 2, 15, 16, 17, 31, 33, 64, 70]


def kernel_index(name):
    text = ffi.new("uint8_t[64]")
    for idx in range(lib.kllm_kernel_count()):
        lib.kllm_kernel_name(idx, text, 64)
        if ffi.string(ffi.cast("char *", text)).decode() == name:
            return idx
    raise LookupError(name)


class Buffer:
    """Bytes at an address that is a multiple of 64."""

    def __init__(self, data):
        self._memory = ffi.new("char[]", len(data) + 64)
        start = -int(ffi.cast("uintptr_t", self._memory)) % 64
        self.pointer = self._memory + start
        self._n_bytes = len(data)
        ffi.memmove(self.pointer, data, len(data))

    def bytes(self):
        return ffi.buffer(self.pointer, self._n_bytes)[:]


def run(name, out, a=b"", b=b"", c=b"", dims=(), scalars=()):
    """Runs a kernel's C variant on an output that holds out; returns what it holds then."""
    buffers = [Buffer(data) for data in (out, a, b, c)]
    status = lib.kllm_kernel_run(
        kernel_index(name + "_c"), *[buffer.pointer for buffer in buffers],
        ffi.new("uint32_t[8]", list(dims)), ffi.new("float[2]", list(scalars)), 1,
    )  # fmt: skip
    assert status == _abi.KLLM_OK
    return buffers[0].bytes()


def pack(x):
    return struct.pack(f"<{len(x)}f", *x)


def flat(rows):
    return [v for row in rows for v in row]


def floats(rng, n, scale=1.0):
    return [ref.f32(rng.uniform(-scale, scale)) for _ in range(n)]


def wild(rng, n):
    """Floats of any exponent whose squares still are finite."""
    return [ref.f32(math.ldexp(rng.uniform(-1.0, 1.0), rng.randint(-149, 60))) for _ in range(n)]


def halves(rng, n):
    return struct.pack(f"<{n}e", *[rng.uniform(-2.0, 2.0) for _ in range(n)])


def random_matrix(rng, kind, rows, cols):
    if kind == "f32":
        return ref.Matrix(kind, pack(floats(rng, rows * cols)), cols)
    if kind == "f16":
        return ref.Matrix(kind, halves(rng, rows * cols), cols)
    shape = ref.Matrix(kind, b"", cols)
    n_scale = (shape.group_bytes - shape.quants_bytes) // 2
    groups = [rng.randbytes(shape.quants_bytes) + halves(rng, n_scale)
              for _ in range((rows + 15) // 16)]  # fmt: skip
    return ref.Matrix(kind, b"".join(groups), cols)


# ------------------------------------------------------------- the oracle against exact numbers


def nearest_f32(exact):
    """Returns the binary32 nearest to a fraction in the normal range, ties to even."""
    if exact == 0:
        return 0.0
    shift = 0
    while abs(exact) >= 2**24:
        exact, shift = exact / 2, shift + 1
    while abs(exact) < 2**23:
        exact, shift = exact * 2, shift - 1
    return math.ldexp(round(exact), shift)  # round() of a fraction takes ties to even


def test_fma_rounds_the_exact_sum_once(rng):
    for _ in range(5000):
        a, b = floats(rng, 2)
        c = ref.f32(-a * b * rng.choice([0.0, 1.0, 1.0 + 2.0**-23, rng.uniform(0.5, 2.0)]))
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        assert ref.fma(a, b, c) == nearest_f32(exact)


def test_fma_sees_what_binary64_loses():
    # 1 + 2^-24 is a tie in binary32 that goes to 1; the product is 2^-24 + 2^-68, a little more.
    assert ref.fma(2.0**-12 + 2.0**-34, 2.0**-12 + 2.0**-34, 1.0) == 1.0 + 2.0**-23
    assert ref.fma(2.0**-12, 2.0**-12, 1.0) == 1.0


def test_exp_is_within_an_ulp(rng):
    for _ in range(3000):
        x = ref.f32(rng.uniform(-87.0, 88.0))
        exact = math.exp(x)
        ulp = math.ldexp(1.0, math.frexp(exact)[1] - 24)
        assert abs(ref.exp(x) - exact) < 1.0 * ulp


def test_dot_is_near_the_exact_sum(rng):
    # A product passes through at most n/16 roundings in its lane and 4 in the tree.
    a, b = floats(rng, 300), floats(rng, 300)
    exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True))
    size = sum(abs(x * y) for x, y in zip(a, b, strict=True))
    assert abs(ref.dot(a, b) - exact) <= (300 / 16 + 5) * 2.0**-24 * size


def test_softmax_is_near_the_exact_one(rng):
    x = floats(rng, 100, 10.0)
    exact = [math.exp(v - max(x)) for v in x]
    for got, e in zip(ref.softmax(x, 1.0), exact, strict=True):
        # exp 1 ulp and the rounding of its argument (up to 20, so 2^-20), sum and product 2^-20.
        assert got == pytest.approx(e / sum(exact), rel=4 * 2.0**-20)


def test_activations_come_near_their_quants(rng):
    x = floats(rng, 320, 5.0)
    q, d, sums = ref.quantize(x)
    for i, v in enumerate(x):
        assert abs(v - q[i] * d[i // 32]) <= d[i // 32] * 0.5001
    assert sums == [sum(q[b : b + 32]) for b in range(0, 320, 32)]


# ------------------------------------------------------------------- the C twins, bit for bit


@pytest.mark.parametrize("n", LENGTHS)
def test_reductions(rng, n):
    for values in (floats, wild):
        a, b = values(rng, n), values(rng, n)
        assert run("dot_f32", bytes(4), pack(a), pack(b), dims=[n]) == pack([ref.dot(a, b)])
        assert run("sum_f32", bytes(4), pack(a), dims=[n]) == pack([ref.sum_(a)])
        assert run("argmax_f32", bytes(4), pack(a), dims=[n]) == struct.pack("<I", ref.argmax(a))


def test_argmax_takes_the_first_of_equals():
    x = [1.0, 3.0, -2.0, 3.0]
    assert run("argmax_f32", bytes(4), pack(x), dims=[4]) == struct.pack("<I", 1)


@pytest.mark.parametrize("n", LENGTHS)
def test_activation_functions(rng, n):
    a, b = floats(rng, n, 20.0), floats(rng, n, 3.0)
    out = bytes(4 * n)
    assert run("gelu_f32", out, pack(a), dims=[n]) == pack(ref.gelu(a))
    assert run("swiglu_f32", out, pack(a), pack(b), dims=[n]) == pack(ref.swiglu(a, b))
    assert run("softmax_f32", pack(a), dims=[n], scalars=[0.125]) == pack(ref.softmax(a, 0.125))


@pytest.mark.parametrize("n", LENGTHS)
def test_norms(rng, n):
    x, w, b = floats(rng, n, 9.0), floats(rng, n), floats(rng, n)
    eps = ref.f32(1e-5)
    got = run("rmsnorm_f32", bytes(4 * n), pack(x), pack(w), dims=[n], scalars=[eps])
    assert got == pack(ref.rmsnorm(x, w, eps))
    got = run("layernorm_f32", bytes(4 * n), pack(x), pack(w), pack(b), dims=[n], scalars=[eps])
    assert got == pack(ref.layernorm(x, w, b, eps))


@pytest.mark.parametrize("pairing", [_abi.KLLM_ROPE_ADJACENT, _abi.KLLM_ROPE_HALF])
def test_rope(rng, pairing):
    x, cs = floats(rng, 3 * 64), floats(rng, 48)
    got = run("rope_f32", pack(x), pack(cs), dims=[3, 64, 48, pairing])
    assert got == pack(ref.rope(x, cs, 3, 64, 48, pairing == _abi.KLLM_ROPE_ADJACENT))


@pytest.mark.parametrize("values", [floats, wild])
def test_quantize(rng, values):
    x = values(rng, 160)
    x[32:64] = [0.0] * 32
    x[64:96] = [127.0, *[i - 15.5 for i in range(31)]]  # ties
    row = ref.q8_row(x)
    got = run("quantize_q8_f32", bytes(len(row)), pack(x), dims=[160])
    assert got[:200] == row[:200]


@pytest.mark.parametrize("kind", ["f32", "f16", "q4_0", "q4_1", "q8_0"])
def test_matmul(rng, kind):
    rows, cols, n_token = 19, 96, 3
    matrix = random_matrix(rng, kind, rows, cols)
    x = [floats(rng, cols) for _ in range(n_token)]
    quantised = kind.startswith("q")
    rows_of_x = b"".join(ref.q8_row(row) if quantised else pack(row) for row in x)
    name = "matmul_f32" if kind == "f32" else f"matmul_f32_{kind}" + "_q8" * quantised
    got = run(name, bytes(4 * rows * n_token), matrix.data, rows_of_x,
              dims=[rows, cols, n_token, rows])  # fmt: skip
    assert got == pack(flat(ref.matmul(matrix, rows, x)))


@pytest.mark.parametrize("kind", ["f16", "q4_0", "q4_1", "q8_0"])
def test_dequantize(rng, kind):
    matrix = random_matrix(rng, kind, 21, 96)
    for row in (0, 15, 16, 20):
        got = run(f"dequantize_f32_{kind}", bytes(4 * 96), matrix.data, dims=[row, 96])
        assert got == pack(matrix.row(row))


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_attn_mix_of_floats(rng, kind):
    n_pos, n, n_head = 37, 64, 2
    values = random_matrix(rng, kind, n_pos, n)
    p = [[abs(v) for v in floats(rng, n_pos)] for _ in range(n_head)]
    got = run("attn_mix_f32" + "_f16" * (kind == "f16"), bytes(4 * n * n_head), pack(flat(p)),
              values.data, dims=[n_pos, n, n_head, n_pos, n_pos])  # fmt: skip
    assert got == pack(flat(ref.attn_mix(p, [values.row(t) for t in range(n_pos)])))


def test_attn_mix_of_q8_0(rng):
    n_pos, n, n_head, n_ctx = 37, 64, 2, 50
    quants = [[rng.randint(-127, 127) for _ in range(n)] for _ in range(64)]
    scales = halves(rng, n_ctx * n // 32)
    cache = bytearray(64 * n)
    for t, row in enumerate(quants):
        for d, q in enumerate(row):
            cache[t // 4 * 4 * n + d * 4 + t % 4] = q & 255
    p = [[abs(v) for v in floats(rng, n_pos)] for _ in range(n_head)]
    got = run("attn_mix_f32_q8_0", bytes(4 * n * n_head), pack(flat(p)), bytes(cache) + scales,
              bytes(128), dims=[n_pos, n, n_head, n_pos, n_ctx])  # fmt: skip
    dv = struct.unpack(f"<{n_ctx * 2}e", scales)
    scale_rows = [dv[2 * t : 2 * t + 2] for t in range(n_pos)]
    assert got == pack(flat(ref.attn_mix_q8(p, quants[:n_pos], scale_rows)))


@pytest.mark.parametrize("n", LENGTHS)
def test_pick(rng, n):
    x = floats(rng, n)
    x[n // 2] = -x[0]  # of equals the first is taken
    taken, left = ref.pick(x)
    out, rest = Buffer(bytes(8 * ref.N_OUTLIER)), Buffer(pack(x))
    status = lib.kllm_kernel_run(kernel_index("pick_f32_c"), out.pointer, ffi.NULL, rest.pointer,
                                 ffi.NULL, ffi.new("uint32_t[1]", [n]), ffi.NULL, 1)  # fmt: skip
    assert status == _abi.KLLM_OK
    assert out.bytes() == b"".join(struct.pack("<fI", *outlier) for outlier in taken)
    assert rest.bytes() == pack(left)


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q8_0"])
def test_patch(rng, kind):
    rows, cols, n_token = 19, 96, 3
    matrix = random_matrix(rng, kind, rows, cols)
    y = [floats(rng, rows) for _ in range(n_token)]
    outliers = [[(floats(rng, 1)[0], rng.randrange(cols)) for _ in range(ref.N_OUTLIER)]
                for _ in range(n_token)]  # fmt: skip
    packed = b"".join(struct.pack("<fI", *outlier) for outlier in flat(outliers))
    got = run(f"patch_f32_{kind}", pack(flat(y)), matrix.data, packed,
              dims=[rows, cols, n_token, rows])  # fmt: skip
    assert got == pack(flat(ref.patch(y, matrix, outliers)))
