"""What a GGUF file may hold: limits of this build, value types, tensor types."""

import sys

from kernel_llm._port import const

# What this build takes; docs/gguf.md gives the reasons.
MAX_KV = const(65536)
MAX_TENSOR = const(65536)
MAX_KEY_BYTES = const(65535)
MAX_NAME_BYTES = const(63)
MAX_STRING_BYTES = const(16777216)
MAX_ARRAY = const(16777216)  # elements
MAX_STRINGS = const(4194304)  # elements of an array of strings
MAX_HEADER_BYTES = const(268435456)  # everything before the weights
MAX_ALIGNMENT = const(1048576)
MAX_DIM = const(2147483647)  # kernels index in 32 bits
MAX_FILE_BYTES = sys.maxsize  # what this machine can address

# GGUF value types: name and, for a number, its struct format.
VALUES = (
    ("u8", "<B"),
    ("i8", "<b"),
    ("u16", "<H"),
    ("i16", "<h"),
    ("u32", "<I"),
    ("i32", "<i"),
    ("f32", "<f"),
    ("bool", "<B"),
    ("str", None),
    ("array", None),
    ("u64", "<Q"),
    ("i64", "<q"),
    ("f64", "<d"),
)
VALUE_NAMES = tuple([name for name, _ in VALUES])
STR = const(8)
ARRAY = const(9)
INTEGERS = ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")

# Tensor types: id: (name, elements of a block, bytes of a block). Missing ids are retired.
DTYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}


def padded(n_bytes, alignment):
    """Returns n_bytes rounded up to a multiple of alignment."""
    return (n_bytes + alignment - 1) // alignment * alignment
