"""What people want to know of a model file before they run it."""

from array import array

from kernel_llm import _abi
from kernel_llm.errors import KllmError, naming
from kernel_llm.gguf import types as gt
from kernel_llm.gguf.cursor import text_of
from kernel_llm.gguf.read import GGUF
from kernel_llm.image import Image, is_image


def summary(path, verify=False):
    """
    Returns (fields, tensors) of a GGUF file or an image.

    fields: key -> int, float, bool or text; long arrays are only counted.
    tensors: list of (name, type, rows, cols, offset, bytes).
    verify: read the weights and compare their checksum, which an image alone has.
    Raises KllmError, OSError.
    """
    if is_image(path):
        return _of_image(path, verify)
    with naming(path):
        if verify:
            raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, "a GGUF file has no checksum to verify")
        return _of_gguf(path)


def _of_image(path, verify):
    image = Image(path)
    try:
        if verify:
            image.check_body()
        names = [name for name in _abi.KLLM_IMAGE[1] if "reserved" not in name]
        fields = {name: getattr(image, name) for name in names}
        fields["model_hash"] = fields["model_hash"].hex()
        fields["name"] = str(text_of(fields["name"].rstrip(b"\0")))
        return fields, list(image.tensors())
    finally:
        image.close()


def _of_gguf(path):
    gguf = GGUF(path)
    fields = {"GGUF version": gguf.version, "file bytes": gguf.n_bytes}
    if gguf.trailing_bytes:
        fields["trailing bytes"] = gguf.trailing_bytes
    for key, value in gguf.metadata.items():
        if isinstance(value, bytes):
            value = repr(value)
        elif isinstance(value, (list, array)):
            if len(value) > 8:
                value = "%s, %d elements" % (gguf.types[key], len(value))
            else:
                value = repr([text_of(x) if isinstance(x, bytes) else x for x in value])
        fields[key] = value
    tensors = []
    for t in gguf.tensors:
        rows = 1
        for dim in t.dims[:-1]:
            rows *= dim
        tensors.append((t.name, gt.DTYPES[t.dtype][0], rows, t.dims[-1], t.off, t.n_bytes))
    return fields, tensors
