"""Block formats of GGUF in plain Python, one block at a time: the oracle for every other code."""

import struct

QK = 32


def f16_bits(x):
    """
    Returns the binary16 bits nearest to a float, ties to even.

    x: finite and at most 65504 after rounding; anything above becomes infinity.
    """
    sign = 0x8000 if struct.pack("<d", x)[7] & 0x80 else 0
    x = abs(x)
    if x >= 65520.0:
        return sign | 0x7C00
    if x < 2.0**-14:
        return sign | _round_even(x * 2.0**24)  # subnormal, or the first normal
    exponent = 0
    while x >= 2.0:
        x *= 0.5
        exponent += 1
    while x < 1.0:
        x *= 2.0
        exponent -= 1
    # A mantissa rounded up to 1024 carries into the exponent by itself.
    return sign | (((exponent + 15) << 10) + _round_even((x - 1.0) * 1024.0))


def _round_even(x):
    whole = int(x)
    rest = x - whole
    if rest > 0.5 or (rest == 0.5 and whole & 1):
        whole += 1
    return whole


def f16_value(bits):
    """Returns the float of binary16 bits; exact."""
    sign = -1.0 if bits & 0x8000 else 1.0
    exponent = (bits >> 10) & 31
    mantissa = bits & 1023
    if exponent == 31:
        return float("nan") if mantissa else sign * float("inf")
    if exponent == 0:
        return sign * mantissa * 2.0**-24
    return sign * (1024 + mantissa) * 2.0 ** (exponent - 25)


def f32(x):
    """Returns a float rounded to binary32."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def _inverse(d):
    """Returns 1 / d in binary32, or 0 where that does not fit: the block then is all zeros."""
    return f32(1.0 / d) if abs(d) > 2.0**-128 else 0.0


def encode_q8_0(x):
    """Returns the 34 bytes of a q8_0 block: d = amax / 127, q = x / d, halves away from zero."""
    amax = max([abs(v) for v in x])
    d = f32(amax / 127.0)
    inverse = _inverse(d)
    quants = []
    for v in x:
        scaled = f32(v * inverse)
        whole = int(abs(scaled) + 0.5)
        quants.append(-whole if scaled < 0 else whole)
    return struct.pack("<H32b", f16_bits(d), *quants)


def encode_q4_0(x):
    """Returns the 18 bytes of a q4_0 block: d = (the largest by magnitude) / -8, q - 8 = x / d."""
    largest = x[0]
    for v in x:
        if abs(v) > abs(largest):
            largest = v
    d = f32(largest / -8.0)
    inverse = _inverse(d)
    quants = [min(15, int(f32(f32(v * inverse) + 8.5))) for v in x]
    return struct.pack("<H", f16_bits(d)) + _nibbles(quants)


def encode_q4_1(x):
    """Returns the 20 bytes of a q4_1 block: m = min, d = (max - min) / 15, q = (x - m) / d."""
    low = min(x)
    d = f32(f32(max(x) - low) / 15.0)
    inverse = _inverse(d)
    quants = [min(15, int(f32(f32(f32(v - low) * inverse) + 0.5))) for v in x]
    return struct.pack("<HH", f16_bits(d), f16_bits(low)) + _nibbles(quants)


def _nibbles(quants):
    return bytes([quants[i] | quants[i + 16] << 4 for i in range(16)])


def _quants(data, off):
    """Returns the 32 values 0..15 of 16 bytes: low nibbles, then high nibbles."""
    return [data[off + i] & 15 for i in range(16)] + [data[off + i] >> 4 for i in range(16)]


def decode_q8_0(block):
    """Returns the 32 floats of 34 bytes."""
    fields = struct.unpack("<H32b", block)
    d = f16_value(fields[0])
    return [f32(d * q) for q in fields[1:]]


def decode_q4_0(block):
    """Returns the 32 floats of 18 bytes."""
    d = f16_value(struct.unpack("<H", block[:2])[0])
    return [f32(d * (q - 8)) for q in _quants(block, 2)]


def decode_q4_1(block):
    """Returns the 32 floats of 20 bytes; the sum is rounded once more."""
    d, m = struct.unpack("<HH", block[:4])
    d, m = f16_value(d), f16_value(m)
    return [f32(f32(d * q) + m) for q in _quants(block, 4)]
