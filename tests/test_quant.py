"""Block formats: plain Python against blocks worked out by hand, the gguf package and NumPy."""

import struct

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_llm.gguf import weights as w
from kernel_llm.twin import quant

F32_VALUES = st.floats(width=32, min_value=-60000.0, max_value=60000.0)
BLOCKS = st.lists(F32_VALUES, min_size=32, max_size=32)
FORMATS = [
    (w.Q8_0, quant.encode_q8_0, quant.decode_q8_0),
    (w.Q4_0, quant.encode_q4_0, quant.decode_q4_0),
    (w.Q4_1, quant.encode_q4_1, quant.decode_q4_1),
]
IDS = ["q8_0", "q4_0", "q4_1"]


def test_quant_q8_0_by_hand():
    # The largest is 127, so d is 1 and quants are the values, halves away from zero.
    x = [127.0, -0.5, 0.5, -2.5, 2.49] + [0.0] * 27
    block = quant.encode_q8_0(x)
    assert block == struct.pack("<e32b", 1.0, 127, -1, 1, -3, 2, *[0] * 27)
    assert quant.decode_q8_0(block)[:5] == [127.0, -1.0, 1.0, -3.0, 2.0]


def test_quant_q4_0_by_hand():
    # The largest by magnitude, -8, becomes quant 0; d is 1; x + 8.5 is cut, and 15 is the top.
    x = [-8.0, 7.0, 7.9, 0.0, 0.5] + [0.0] * 11 + [1.0] + [0.0] * 15
    block = quant.encode_q4_0(x)
    low = [0, 15, 15, 8, 9] + [8] * 11
    high = [9] + [8] * 15
    assert block == struct.pack("<e", 1.0) + bytes(
        a | b << 4 for a, b in zip(low, high, strict=True)
    )
    assert quant.decode_q4_0(block)[:5] == [-8.0, 7.0, 7.0, 0.0, 1.0]


def test_quant_q4_0_keeps_the_sign_of_the_largest():
    assert quant.decode_q4_0(quant.encode_q4_0([8.0] + [0.0] * 31))[0] == 8.0


def test_quant_q4_1_by_hand():
    # From 1 to 16: m is 1, d is 1, quants are x - 1 with halves up.
    x = [1.0, 16.0, 2.5, 8.4] + [1.0] * 28
    block = quant.encode_q4_1(x)
    assert block[:4] == struct.pack("<ee", 1.0, 1.0)
    assert [byte & 15 for byte in block[4:8]] == [0, 15, 2, 7]
    assert quant.decode_q4_1(block)[:4] == [1.0, 16.0, 3.0, 8.0]


@pytest.mark.parametrize("dtype, encode, decode", FORMATS, ids=IDS)
@pytest.mark.parametrize("x", [0.0, -0.0, 1e-45, -1e-40, 1e-30, 1e-8, 65504.0])
def test_quant_constant_blocks(dtype, encode, decode, x):
    x = quant.f32(x)
    # The quant, at most 127, is exact; the scale is off by 2**-11 of it or half a subnormal, and
    # binary32 roundings are far less.
    bound = abs(x) * 2.0**-10 + 127 * 2.0**-25
    assert all(abs(v - x) <= bound for v in decode(encode([x] * 32)))


@pytest.mark.parametrize("dtype, encode, decode", FORMATS, ids=IDS)
@settings(max_examples=100)
@given(x=BLOCKS)
def test_quant_plain_python_numpy_and_gguf_agree(dtype, encode, decode, x):
    x = [v + 0.0 for v in x]  # which zero of 0 and -0 is the smallest, each may see otherwise
    values = np.array(x, np.float32)
    block = encode(x)
    assert w.encode(values, dtype).tobytes() == block
    if np.abs(values).max() > 1e-30:  # the gguf package divides by zero below
        kind = gguf.GGMLQuantizationType(dtype)
        assert gguf.quants.quantize(values.reshape(1, 32), kind).tobytes() == block
    assert w.decode(block, dtype).tolist() == decode(block)


@pytest.mark.parametrize("dtype, encode, decode", FORMATS, ids=IDS)
@settings(max_examples=100)
@given(data=st.binary(min_size=34, max_size=34))
def test_quant_every_block_of_bytes_decodes_alike(dtype, encode, decode, data):
    block = data[: {w.Q8_0: 34, w.Q4_0: 18, w.Q4_1: 20}[dtype]]
    ours = np.array(decode(block), np.float32)
    kind = gguf.GGMLQuantizationType(dtype)
    with np.errstate(invalid="ignore"):
        theirs = gguf.quants.dequantize(np.frombuffer(block, np.uint8).reshape(1, -1), kind)[0]
        numpy = w.decode(block, dtype)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours, numpy)


def test_quant_f16_reads_and_writes_all_bits_as_struct_does():
    for bits in range(65536):
        value = struct.unpack("<e", struct.pack("<H", bits))[0]
        if value != value:
            assert quant.f16_value(bits) != quant.f16_value(bits)
        else:
            assert quant.f16_value(bits) == value
            assert quant.f16_bits(value) == bits


@settings(max_examples=500)
@given(x=st.floats(min_value=-65503.0, max_value=65503.0))
def test_quant_f16_rounds_as_struct_does(x):
    assert quant.f16_bits(x) == struct.unpack("<H", struct.pack("<e", x))[0]


def test_quant_f16_overflows_to_infinity_where_rounding_says():
    assert quant.f16_bits(65519.99) == 0x7BFF
    assert quant.f16_bits(-65520.0) == 0xFC00


def test_weights_decode_bf16_as_the_upper_half_of_float32():
    data = struct.pack("<HHH", 0x3F80, 0xC000, 0x0001)
    assert w.decode(data, w.BF16).tolist() == [1.0, -2.0, 2.0**-133]
