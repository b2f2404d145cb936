"""Turns a GGUF file into one whose matrices have another type. CPython only."""

from kernel_llm._abi import KLLM_ERR_UNSUPPORTED
from kernel_llm.errors import naming
from kernel_llm.files import atomic_write, check_apart
from kernel_llm.gguf import weights as w
from kernel_llm.gguf.fields import fail
from kernel_llm.gguf.read import GGUF
from kernel_llm.gguf.types import DTYPES
from kernel_llm.gguf.write import Writer

# What may be asked for: tensor type, and general.file_type of the result.
TARGETS = {"f32": (w.F32, 0), "f16": (w.F16, 1), "q4_0": (w.Q4_0, 2), "q8_0": (w.Q8_0, 7)}


def _target_of(tensor, target):
    """Returns the type a tensor gets: matrices the target, vectors and positions f32."""
    if tensor.dtype not in w.SUPPORTED:
        text = "%s cannot be converted; the types known here are %s" % (
            DTYPES[tensor.dtype][0],
            ", ".join(DTYPES[dtype][0] for dtype in w.SUPPORTED),
        )
        fail(KLLM_ERR_UNSUPPORTED, "tensor %r type" % tensor.name, tensor.info_off, text)
    if len(tensor.dims) < 2 or tensor.name == "position_embd.weight":
        return w.F32
    block_items = DTYPES[target][1]
    if tensor.dims[-1] % block_items:
        text = "rows of %d are not whole blocks of %d" % (tensor.dims[-1], block_items)
        fail(KLLM_ERR_UNSUPPORTED, "tensor %r dims" % tensor.name, tensor.info_off, text)
    return target


def _metadata(gguf, file_type):
    """Returns the metadata for Writer: as read, but file type and format version are ours."""
    ours = (("general.file_type", file_type), ("general.quantization_version", 2))
    left_out = ("general.alignment", "general.file_type", "general.quantization_version")
    pairs = [
        (key, gguf.types[key], value)
        for key, value in gguf.metadata.items()
        if key not in left_out
    ]
    return pairs + [(key, "u32", value) for key, value in ours]


def quantize(src, dst, target, progress=None):
    """
    Writes the GGUF file src as dst with every matrix in type `target`, a key of TARGETS.

    Vectors and learned positions become f32; a tensor that has its type already keeps its bytes;
    all metadata stays. dst appears whole or not at all.
    progress: called with (bytes of src done, bytes of src in all).
    Memory: a few times STEP_BYTES of weights.py, whatever the size of the model.
    Raises KllmError UNSUPPORTED for a tensor type it cannot read, RANGE for a value that does not
    fit the target or a dst that is src, and GGUF's errors; OSError.
    """
    dtype, file_type = TARGETS[target]
    check_apart(dst, src)
    with naming(src):
        gguf = GGUF(src)
        targets = [_target_of(tensor, dtype) for tensor in gguf.tensors]
        table = [(t.name, to, t.dims) for t, to in zip(gguf.tensors, targets, strict=True)]
        with w.WeightFile(src, gguf.n_bytes) as data, atomic_write(dst) as file:
            writer = Writer(file, _metadata(gguf, file_type), table)
            for tensor, to in zip(gguf.tensors, targets, strict=True):
                _convert(data, tensor, to, writer)
                if progress:
                    progress(tensor.off + tensor.n_bytes, gguf.n_bytes)
            writer.close()
            data.check_unchanged()


def _convert(data, tensor, to, writer):
    _, block_items, block_bytes = DTYPES[tensor.dtype]
    step = w.STEP_BYTES // 4 // block_items * block_bytes
    for _, part in data.slabs(tensor.off, tensor.n_bytes, step):
        if tensor.dtype != to:
            values = w.decode(part, tensor.dtype)
            w.check_fits(values, to, tensor.name)
            part = w.encode(values, to)
        writer.write(part.tobytes())
