# SPDX-License-Identifier: Apache-2.0
"""
Takes the place of the core where there is none: what opens and runs a model, in plain Python.

The functions of kllm.h that Model, Image, Plan and Encoder call, by their own names, with the
same results and errors; kernels, threads and the C arena are not offered. A pointer is a Pointer.
The arena holds the logits alone: everything else is Python's own, which allocates.
"""

import binascii
import struct

from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.twin import check
from kernel_llm.twin import sampler as sampler_twin
from kernel_llm.twin.engine import Engine
from tokenizer import Tokenizer

ENGINE = "python"

if 1.0 + 2.0**-52 == 1.0:
    raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, "Python's floats are not of 64 bits here")

_KV_DTYPES = (_abi.KLLM_F32, _abi.KLLM_F16, _abi.KLLM_Q8_0)
_SAMPLER = "<4f2IQ"


class Block:
    """Bytes that pointers point into, and what has been opened over them."""

    def __init__(self, data):
        self.data = data
        self.header = None  # of an image that was checked
        self.engine = None  # of an arena in which a model is open
        self.tokenizers = {}  # by the offset of their vocabulary


class Pointer:
    """A place in a Block; adding an offset in bytes gives another."""

    def __init__(self, block, off=0):
        self.block = block
        self.off = off

    def __add__(self, n_bytes):
        return Pointer(self.block, self.off + n_bytes)

    def read(self, kind):
        """Returns the numbers that a format of the struct module finds here."""
        return struct.unpack_from(kind, self.block.data, self.off)

    def write(self, kind, *values):
        struct.pack_into(kind, self.block.data, self.off, *values)


def pointer(buffer):
    """Returns the pointer to a buffer's bytes."""
    return Pointer(Block(buffer))


def view(address, n_bytes):
    """Returns n_bytes at a pointer as a buffer, without a copy."""
    return memoryview(address.block.data)[address.off : address.off + n_bytes]


class Memory:
    """
    A file, read whole, or zeros.

    address: the pointer to its first byte.
    n_bytes: its size.
    """

    def __init__(self, n_bytes=0, path=None):
        if path is None:
            data = bytearray(n_bytes)
        else:
            with open(path, "rb") as file:
                data = file.read()
        self.n_bytes = len(data)
        self.address = Pointer(Block(data))

    def view(self, off, n_bytes):
        """Returns n_bytes at an offset as a buffer, without a copy."""
        return view(self.address + off, n_bytes)

    def close(self):
        """Lets go of the bytes."""
        self.address = None


def kllm_abi_version():
    return _abi.ABI_VERSION


def kllm_cpu():
    return 0


def kllm_kernel_count():
    return 0


def kllm_tensor_bytes(dtype, rows, cols):
    return check.tensor_bytes(dtype, rows, cols)


def kllm_crc32(crc, address, n_bytes):
    return binascii.crc32(view(address, n_bytes), crc)


def kllm_image_check(image, n_bytes, bad_off):
    try:
        image.block.header = check.check_image(view(image, n_bytes))
    except check.Bad as error:
        bad_off.write("<Q", error.off)
        return error.status
    return _abi.KLLM_OK


def kllm_image_check_body(image):
    m = check.Header(image.block.data)
    body = view(image + m.vocab_off, m.n_bytes - m.vocab_off)
    return _abi.KLLM_OK if binascii.crc32(body) == m.body_crc else _abi.KLLM_ERR_FORMAT


def kllm_plan(plan, image, config):
    m = check.Header(image.block.data)
    n_ctx, n_batch, n_seq, n_logits, n_thread, kv_dtype, _cpu, reserved = config.read("<8I")
    fits = (
        1 <= n_ctx <= m.n_ctx_train
        and 1 <= n_batch <= _abi.KLLM_MAX_BATCH
        and 1 <= n_seq <= _abi.KLLM_MAX_SEQ
        and n_seq <= n_logits <= _abi.KLLM_MAX_BATCH
        and 1 <= n_thread <= _abi.KLLM_MAX_THREAD
        and reserved == 0
        and kv_dtype in _KV_DTYPES
    )
    if not fits:
        return _abi.KLLM_ERR_RANGE
    n_bytes = n_logits * m.n_vocab * 4
    plan.write("<Q", n_bytes)
    for i in range(_abi.KLLM_R_COUNT):
        off = n_bytes if i > _abi.KLLM_R_LOGITS else 0
        (plan + 8 + 16 * i).write("<QQ", off, n_bytes if i == _abi.KLLM_R_LOGITS else 0)
    return _abi.KLLM_OK


def kllm_open(arena, n_bytes, image, image_bytes, config):
    plan, bad_off = pointer(bytearray(_abi.KLLM_PLAN[0])), pointer(bytearray(8))
    status = kllm_image_check(image, image_bytes, bad_off) or kllm_plan(plan, image, config)
    if status != _abi.KLLM_OK:
        return status
    if n_bytes < plan.read("<Q")[0]:
        return _abi.KLLM_ERR_SPACE
    arena.block.engine = Engine(view(image, image_bytes), image.block.header, config.read("<6I"))
    return _abi.KLLM_OK


def kllm_eval(arena, image, tokens, seqs, n_token, logits):
    engine = arena.block.engine
    tokens, seqs = tokens.read("<%dI" % n_token), seqs.read("<%dI" % n_token)
    status = _check_call(engine, tokens, seqs, logits)
    if status != _abi.KLLM_OK:
        return status
    for i, (token, seq) in enumerate(zip(tokens, seqs)):  # noqa: B905
        x = engine.append(token, seq)
        if logits == _abi.KLLM_LOGITS_ALL:
            _write_logits(arena, i, engine.logits(x))
        elif logits == _abi.KLLM_LOGITS_LAST and seq not in seqs[i + 1 :]:
            _write_logits(arena, seq, engine.logits(x))
    return _abi.KLLM_OK


def _check_call(engine, tokens, seqs, logits):
    n_token = len(tokens)
    if n_token == 0 or logits > _abi.KLLM_LOGITS_ALL:
        return _abi.KLLM_ERR_RANGE
    if logits == _abi.KLLM_LOGITS_ALL and n_token > engine.n_logits:
        return _abi.KLLM_ERR_RANGE
    n_held = [len(ids) for ids in engine.history]
    for token, seq in zip(tokens, seqs):  # noqa: B905
        if token >= engine.m.n_vocab or seq >= len(n_held):
            return _abi.KLLM_ERR_RANGE
        if n_held[seq] == engine.n_ctx:
            return _abi.KLLM_ERR_SPACE
        n_held[seq] += 1
    return _abi.KLLM_OK


def _row_of_logits(arena, row):
    return arena + 4 * arena.block.engine.m.n_vocab * row


def _write_logits(arena, row, logits):
    _row_of_logits(arena, row).write("<%df" % len(logits), *logits)


def _read_logits(arena, row):
    return _row_of_logits(arena, row).read("<%df" % arena.block.engine.m.n_vocab)


def kllm_seq_cut(arena, seq, n_token):
    n_held = kllm_seq_length(arena, seq)
    if n_held < 0 or not 0 <= n_token <= n_held:
        return _abi.KLLM_ERR_RANGE
    arena.block.engine.cut(seq, n_token)
    return _abi.KLLM_OK


def kllm_seq_length(arena, seq):
    history = arena.block.engine.history
    return len(history[seq]) if 0 <= seq < len(history) else _abi.KLLM_ERR_RANGE


def kllm_region_off(arena, idx):
    return 0 if 0 <= idx < _abi.KLLM_R_COUNT else -1


def _are_finite(logits):
    return all(x - x == 0.0 for x in logits)


def kllm_sample(arena, image, row, seq, sampler):
    engine = arena.block.engine
    temperature, top_p, min_p, penalty, top_k, last_n, state = sampler.read(_SAMPLER)
    in_range = 0 <= temperature <= 100 and 0 <= top_p <= 1 and 0 <= min_p <= 1
    if not (in_range and row < engine.n_logits and seq < len(engine.history)):
        return _abi.KLLM_ERR_RANGE
    logits = _read_logits(arena, row)
    if not _are_finite(logits):
        return _abi.KLLM_ERR_FORMAT
    if penalty != 1.0:
        ids = engine.history[seq]
        logits = sampler_twin.penalised(logits, ids[max(0, len(ids) - last_n) :], penalty)
    id, state = sampler_twin.choose(logits, temperature, top_p, min_p, top_k, state)
    (sampler + 24).write("<Q", state)
    return id


def kllm_score(arena, image, row, token, nll, top1):
    engine = arena.block.engine
    if row >= engine.n_logits or token >= engine.m.n_vocab:
        return _abi.KLLM_ERR_RANGE
    logits = _read_logits(arena, row)
    if not _are_finite(logits):
        return _abi.KLLM_ERR_FORMAT
    loss, best = sampler_twin.score(logits, token)
    nll.write("<f", loss)
    top1.write("<I", best)
    return _abi.KLLM_OK


def kllm_team_start(arena):
    """Starts nothing: one thread gives the same bits as any number."""
    return _abi.KLLM_OK


def kllm_team_stop(arena):
    arena.block.engine = None


def _tokenizer(vocab):
    found = vocab.block.tokenizers.get(vocab.off)
    if found is None:
        data = vocab.block.data
        found = Tokenizer(memoryview(data)[vocab.off :])
        vocab.block.tokenizers[vocab.off] = found
    return found


def kllm_encode(vocab, work, text, n_bytes, flags, ids, n_ids, n_out):
    found = _tokenizer(vocab).encode(
        bytes(view(text, n_bytes)), bool(flags & _abi.KLLM_ENCODE_SPECIAL),
        bool(flags & _abi.KLLM_ENCODE_AFFIX))  # fmt: skip
    n_out.write("<Q", len(found))
    if len(found) > n_ids:
        return _abi.KLLM_ERR_SPACE
    ids.write("<%dI" % len(found), *found)
    return _abi.KLLM_OK


def kllm_decode(vocab, ids, n_ids, flags, text, n_bytes, n_out):
    tokenizer = _tokenizer(vocab)
    ids = ids.read("<%dI" % n_ids)
    if ids and max(ids) >= tokenizer.vocab.n_vocab:
        return _abi.KLLM_ERR_RANGE
    found = tokenizer.decode_bytes(ids, bool(flags & _abi.KLLM_DECODE_SPECIAL),
                                   bool(flags & _abi.KLLM_DECODE_START))  # fmt: skip
    n_out.write("<Q", len(found))
    if len(found) > n_bytes:
        return _abi.KLLM_ERR_SPACE
    text.write("%ds" % len(found), found)
    return _abi.KLLM_OK
