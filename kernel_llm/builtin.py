# SPDX-License-Identifier: Apache-2.0
"""The model in the box: where its files lie and whether they are whole (see data/README.md)."""

from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE
from kernel_llm.errors import KllmError

NAME = "shakespeare-2m"
KINDS = ("q8_0", "q4_0")  # the first is the default

# Size in bytes and SHA-256 of each packaged file.
FILES = {
    "q8_0": (2335552, "31c6729988b169baaad7b40be4e7f84aac69df878ac8d163efe0f220d25fdc74"),
    "q4_0": (1254208, "5ed8834563ecedaa44b4024e80f6a33a5dd8aab65a5198c5b5237d409a17aeb0"),
}

_PIECE_BYTES = 65536


def builtin_path(kind="q8_0"):
    """
    Returns the path of the packaged GGUF file whose matrices are of type kind, after checking it.

    kind: one of KINDS, else KllmError RANGE. Raises KllmError FORMAT naming the file if its bytes
    are not the ones that were packaged, and OSError if it is missing.
    """
    if kind not in FILES:
        raise KllmError(KLLM_ERR_RANGE, "built-in model: kind %s is not %s" % (kind, KINDS))
    path = "%s/data/%s.%s.gguf" % (__file__.replace("\\", "/").rsplit("/", 1)[0], NAME, kind)
    check_file(path, *FILES[kind])
    return path


def check_file(path, n_bytes, sha256):
    """
    Raises KllmError FORMAT naming path unless it holds n_bytes bytes of the given SHA-256 (hex).

    Reads pieces of 64 KiB. Raises OSError if the file cannot be read.
    """
    import hashlib

    digest, count = hashlib.sha256(), 0
    with open(path, "rb") as f:
        while True:
            piece = f.read(_PIECE_BYTES)
            if not piece:
                break
            digest.update(piece)
            count += len(piece)
    if count != n_bytes:
        where = "%s is damaged: it has %d bytes, expected %d; install the package again"
        raise KllmError(KLLM_ERR_FORMAT, where % (path, count, n_bytes))
    if digest.digest() != bytes.fromhex(sha256):
        where = "%s is damaged: its SHA-256 is not %s; install the package again"
        raise KllmError(KLLM_ERR_FORMAT, where % (path, sha256))
