"""From what a user names to an open model: image or GGUF, packed once into the cache."""

import contextlib
import os
import re
import zlib
from pathlib import Path

from arena.plan import Plan, config_bytes
from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm.encoder import Encoder
from kernel_llm.errors import KllmError
from kernel_llm.files import cache_dir, locked
from kernel_llm.image import Image, is_image
from kernel_llm.model import N_CTX_DEFAULT, Model, default_threads
from kernel_llm.progress import show_progress
from kernel_llm.pull import resolve

_HEADER_BYTES, _FIELDS = _abi.KLLM_IMAGE
# A cached image: name and path of its file; size and time of that, our version.
_NAME = re.compile("(.+-[0-9a-f]{8}-)[0-9a-f]{36}", re.DOTALL)


def packed_path(path):
    """Returns where the cache keeps the image of a GGUF file as it is now, for this version."""
    # No hashlib: it brings 3 MB of OpenSSL into a process that may have none to spare.
    stat = os.stat(path)
    file = zlib.crc32(os.fsencode(os.path.realpath(path)))
    state = f"{stat.st_size:012x}{stat.st_mtime_ns:016x}{_abi.ABI_VERSION:08x}"
    stem = Path(path).stem[:50]  # 200 bytes at most; all of a name may take 255
    return cache_dir("images") / f"{stem}-{file:08x}-{state}.kllm"


def open_image(path, progress=show_progress):
    """
    Opens an image file, or the image of a GGUF file, which is packed first if need be.

    An image in the cache that is damaged is made again. Of two processes that want the same one
    packed, the second waits.
    progress: as show_progress. Raises KllmError or OSError.
    """
    if is_image(path):
        return Image(path)
    return _cached(packed_path(path)) or _pack_into_cache(path, progress)


def _cached(packed):
    """Returns the image that the cache holds, or None if it is not there or damaged."""
    try:
        return Image(packed)
    except (FileNotFoundError, KllmError):
        return None


def _pack_into_cache(path, progress):
    from kernel_llm.pack import pack

    packed = packed_path(path)
    with locked(packed.parent):
        image = _cached(packed)  # another process may have packed it while this one waited
        if image is None:
            pack(path, packed, progress)
            image = Image(packed)
        _clear_former(packed, image)
    return image


def _clear_former(packed, image):
    """Removes images of a GGUF file as it was, or as other versions packed and named it."""
    file = _NAME.fullmatch(packed.stem)[1]
    for other in packed.parent.glob("*" + packed.suffix):
        name = _NAME.fullmatch(other.stem)
        with contextlib.suppress(OSError):  # what cannot be read or removed stays
            is_of_it = name[1] == file if name else _model_hash(other) == image.model_hash
            if is_of_it and other != packed:
                other.unlink()


def _model_hash(path):
    """Returns what the header of an image says of its GGUF file."""
    off, n_bytes = _FIELDS["model_hash"]
    with open(path, "rb") as file:
        return file.read(_HEADER_BYTES)[off : off + n_bytes]


def open_model(path=None, progress=show_progress, **options):
    """Opens a model by path or pulled name, or the built-in one; options are those of Model."""
    return Model(open_image(resolve(path), progress), **options)


def encoder_of(image):
    """Returns the tokenizer of an open image, without opening the model."""
    return Encoder(image.address + image.vocab_off)


def plan_of(path, n_ctx=None, n_batch=64, n_seq=1, threads=None, kv="f16"):
    """
    Returns (plan of the arena, bytes of the image), reading no weights.

    path: an image or a GGUF file, which is not packed for it. Arguments as in Model.
    """
    if is_image(path):
        image = Image(path)  # checked: a plan trusts the header
        header, n_image = bytes(native.view(image.address, _HEADER_BYTES)), image.n_bytes
        image.close()
    else:
        from kernel_llm.pack import plan_image

        header, n_image = plan_image(path)
    off = _FIELDS["n_ctx_train"][0]
    n_train = int.from_bytes(header[off : off + 4], "little")
    n_ctx = min(n_train, N_CTX_DEFAULT) if n_ctx is None else n_ctx
    threads = default_threads() if threads is None else threads
    config = config_bytes(n_ctx, n_batch, n_seq, 0, threads, kv)
    return Plan(native.pointer(header), config), n_image
