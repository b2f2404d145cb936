"""From a file that holds a vocabulary, of any kind, to its vocab section. CPython only."""

import codecs
import re
import struct

from kernel_llm import _abi
from kernel_llm._native_cffi import ffi
from kernel_llm.errors import KllmError, naming
from kernel_llm.gguf.read import GGUF
from kernel_llm.tokenizer.section import pack_vocab
from kernel_llm.tokenizer.tiktoken_file import read_tiktoken
from kernel_llm.tokenizer.tokenizer_json import read_json

MAX_BYTES = 1 << 28  # of a tokenizer.json or tiktoken file
JSON_START = re.compile(rb"\s*[{\[]")
TIKTOKEN_START = re.compile(rb"\s*[A-Za-z0-9+/]+={0,2}[ \t]+[0-9]+[ \t]*(?:\r?\n|\Z)")


def read_section(path, pre=None, specials=None):
    """
    Returns (vocab section, what owns its memory) of a file, told apart by its first bytes.

    Arguments and errors as in Tokenizer.from_file.
    """
    with open(path, "rb") as file:
        magic = file.read(4)
        if magic == struct.pack("<I", _abi.KLLM_IMAGE_MAGIC):
            return _from_image(path, pre)
        with naming(path):
            if magic == b"GGUF":
                metadata = GGUF(file).metadata
            else:
                metadata = _metadata(magic + file.read(MAX_BYTES), str(path), pre, specials)
            return pack_vocab(metadata, pre), None


def _metadata(data, name, pre, specials):
    """Returns the GGUF metadata of a tokenizer.json or a tiktoken file."""
    if len(data) > MAX_BYTES:
        raise KllmError(_abi.KLLM_ERR_RANGE, "no vocabulary is so large")
    text = data.removeprefix(codecs.BOM_UTF8)
    if JSON_START.match(text) or name.endswith(".json"):
        return read_json(data)
    if TIKTOKEN_START.match(text) or name.endswith(".tiktoken"):
        return read_tiktoken(text, pre, specials)
    raise KllmError(_abi.KLLM_ERR_FORMAT, "is empty" if not data.strip() else
                    "is no GGUF file, packed image, tokenizer.json or tiktoken file")  # fmt: skip


def _from_image(path, pre):
    from kernel_llm.image import Image

    if pre is not None:
        raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, f"{path}: an image is packed with its "
                        "pre-tokenizer; pack it again with --pre")  # fmt: skip
    image = Image(path)
    return ffi.buffer(image.address + image.vocab_off, image.vocab_bytes), image
