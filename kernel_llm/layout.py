"""
Puts GGUF tensors into the layout of an image (docs/image.md) and back, with NumPy.

Quantised rows go in groups of 16. A group holds the quants of all its blocks, interleaved in
4-byte chunks of [16 rows][4 bytes], then the scales [blocks][16], and is padded to 64 bytes.
"""

import numpy as np

from kernel_llm import _abi

GROUP = _abi.KLLM_GROUP
QK = _abi.KLLM_QK

# dtype: (bytes of a GGUF block, of them scales in front)
_BLOCKS = {_abi.KLLM_Q4_0: (18, 2), _abi.KLLM_Q4_1: (20, 4), _abi.KLLM_Q8_0: (34, 2)}


def align(n_bytes):
    """Returns n_bytes rounded up to where the next tensor or group of an image may begin."""
    return -(-n_bytes // _abi.KLLM_ALIGN) * _abi.KLLM_ALIGN


def pack_rows(raw, dtype, rows, cols):
    """
    Packs quantised rows of a GGUF tensor.

    raw: uint8, the rows' blocks end to end. rows: 1 or more; missing rows of the last group
    become zeros. cols: a multiple of 32.
    Returns uint8 [groups][bytes of a group].
    """
    block_bytes, scale_bytes = _BLOCKS[dtype]
    n_block = cols // QK
    n_group = -(-rows // GROUP)
    blocks = np.zeros((n_group * GROUP, n_block, block_bytes), np.uint8)
    blocks[:rows] = np.frombuffer(raw, np.uint8).reshape(rows, n_block, block_bytes)
    blocks = blocks.reshape(n_group, GROUP, n_block, block_bytes)
    chunks = blocks[..., scale_bytes:].reshape(n_group, GROUP, n_block, -1, 4)
    scales = blocks[..., :scale_bytes].reshape(n_group, GROUP, n_block, scale_bytes // 2, 2)
    quants = chunks.transpose(0, 2, 3, 1, 4).reshape(n_group, -1)
    scales = scales.transpose(0, 2, 3, 1, 4).reshape(n_group, -1)
    used = quants.shape[1] + scales.shape[1]
    packed = np.zeros((n_group, align(used)), np.uint8)
    packed[:, : quants.shape[1]] = quants
    packed[:, quants.shape[1] : used] = scales
    return packed


def unpack_rows(packed, dtype, rows, cols):
    """Returns the GGUF blocks of packed rows as uint8 [rows][bytes of a row]: inverse of pack."""
    block_bytes, scale_bytes = _BLOCKS[dtype]
    n_block = cols // QK
    n_group = -(-rows // GROUP)
    packed = np.frombuffer(packed, np.uint8).reshape(n_group, -1)
    quant_bytes = n_block * GROUP * (block_bytes - scale_bytes)
    used = quant_bytes + n_block * GROUP * scale_bytes
    chunks = packed[:, :quant_bytes].reshape(n_group, n_block, -1, GROUP, 4)
    scales = packed[:, quant_bytes:used].reshape(n_group, n_block, scale_bytes // 2, GROUP, 2)
    blocks = np.empty((n_group, GROUP, n_block, block_bytes), np.uint8)
    blocks[..., scale_bytes:] = chunks.transpose(0, 3, 1, 2, 4).reshape(
        n_group, GROUP, n_block, -1
    )
    blocks[..., :scale_bytes] = scales.transpose(0, 3, 1, 2, 4).reshape(
        n_group, GROUP, n_block, -1
    )
    return blocks.reshape(n_group * GROUP, -1)[:rows]
