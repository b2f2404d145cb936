"""Encodes and decodes blocks of every format and prints their bytes."""

import struct

from kernel_llm.twin import quant

state = 1


def draw():
    """Returns the next of a fixed series of float32 values of many sizes."""
    global state
    state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return quant.f32((state - 0x40000000) / 2.0 ** (20 + state % 23))


def show(values):
    return "".join(["%02x" % byte for byte in struct.pack("<%df" % len(values), *values)])


for encode, decode in (
    (quant.encode_q8_0, quant.decode_q8_0),
    (quant.encode_q4_0, quant.decode_q4_0),
    (quant.encode_q4_1, quant.decode_q4_1),
):
    for _ in range(20):
        block = encode([draw() for _ in range(32)])
        print("".join(["%02x" % byte for byte in block]))
        print(show(decode(block)))
    for x in (0.0, -0.0, 1e-45, 1e-38, 65504.0):
        print("".join(["%02x" % byte for byte in encode([quant.f32(x)] * 32)]))
for bits in range(0, 65536, 17):
    value = quant.f16_value(bits)
    if value == value:
        assert quant.f16_bits(value) == bits
