"""Reads a GGUF file given on the command line and prints all of it, and refuses bad ones."""

import io
import sys

from kernel_llm.errors import KllmError
from kernel_llm.gguf.hyper import hyper_parameters
from kernel_llm.gguf.read import GGUF
from kernel_llm.summary import summary

path = sys.argv[1]
gguf = GGUF(path)
print(gguf.version, gguf.alignment, gguf.data_off, gguf.n_bytes, gguf.trailing_bytes)
for key in sorted(gguf.metadata):
    value = gguf.metadata[key]
    if isinstance(value, float):
        value = int(value * 1000000)  # the two print floats differently
    elif not isinstance(value, (bool, int, str, bytes)):
        value = [len(value)] + [int(x) if isinstance(x, float) else x for x in list(value)[:300]]
    print(key, gguf.types[key], gguf.fields.offs[key], value)
for tensor in gguf.tensors:
    print(tensor.name, tensor.dtype, list(tensor.dims), tensor.off, tensor.n_bytes)

hyper = hyper_parameters(gguf)
for source in hyper.sources:
    print(source and (source.name, source.dtype, source.rows, source.cols, source.off))
print(hyper.n_layer, hyper.n_embd, hyper.head_dim, hyper.n_ctx_train, hyper.tied)
print(len(summary(path)[1]))

with open(path, "rb") as file:
    data = file.read()
end = gguf.tensors[0].info_off
cuts = list(range(0, end, 97))
cuts.append(len(data) - 1)
for n_bytes in cuts:
    try:
        GGUF(io.BytesIO(data[:n_bytes]))
    except KllmError as error:
        print(error.code, error.where)
for off, value in ((0, 0), (4, 9), (15, 255), (23, 255), (24, 0), (40, 255)):
    bad = bytearray(data)
    bad[off] = value
    try:
        hyper_parameters(GGUF(io.BytesIO(bytes(bad))))
        print("read")
    except KllmError as error:
        print(str(error))
