"""The memory plan of a model: every region of its arena, known before a byte is allocated."""

import struct

from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm.errors import KllmError

# (name, what it holds), in the order of kllm_region_idx.
REGIONS = (
    ("context", "the open model"),
    ("slots", "u32[n_seq]: positions filled"),
    ("history", "u32[n_seq][n_ctx]: token ids"),
    ("kv", "keys and values of every position"),
    ("batch", "tokens of the pass in hand"),
    ("x", "f32[n_batch][n_embd]: residual stream"),
    ("norm", "f32[n_batch + threads][n_embd]: normalised, or a projection"),
    ("qkv", "f32[n_batch][q + k + v]"),
    ("attn", "f32[n_batch][n_head * head_dim]"),
    ("ffn", "f32[n_batch][2 * n_ff + 16]"),
    ("act", "quantised activations"),
    ("outlier", "inputs that are not quantised"),
    ("copy", "f32[threads][widest input]"),
    ("work", "attention scores of each thread"),
    ("logits", "f32[n_logits][n_vocab]"),
    ("sample", "candidates of the sampler"),
)

KV_DTYPES = {"f32": _abi.KLLM_F32, "f16": _abi.KLLM_F16, "q8_0": _abi.KLLM_Q8_0}


def config_bytes(n_ctx, n_batch=64, n_seq=1, n_logits=0, threads=1, kv="f16", cpu=0xFFFFFFFF):
    """
    Returns a struct kllm_config.

    n_ctx: positions of each sequence; n_batch: tokens in one pass; n_seq: sequences held at once;
    n_logits: rows of logits kept, 0 for one each; threads: 1 or more; kv: "f32", "f16" or "q8_0";
    cpu: mask of the instruction sets that may be used.
    Raises KllmError(RANGE) naming the number that is past the limits of this build, TypeError for
    one that is not whole.
    """
    if kv not in KV_DTYPES:
        raise KllmError(_abi.KLLM_ERR_RANGE, "kv is '%s', not f32, f16 or q8_0" % kv)
    n_logits = max(n_logits, n_seq)
    for name, value, limit in (
        ("n_ctx", n_ctx, _abi.KLLM_MAX_CTX),
        ("n_batch", n_batch, _abi.KLLM_MAX_BATCH),
        ("n_seq", n_seq, _abi.KLLM_MAX_SEQ),
        ("n_logits", n_logits, _abi.KLLM_MAX_BATCH),
        ("threads", threads, _abi.KLLM_MAX_THREAD),
    ):
        if not 1 <= value <= limit:
            where = "%s is %d, not within 1 … %d" % (name, value, limit)
            raise KllmError(_abi.KLLM_ERR_RANGE, where)
        if isinstance(value, float):
            raise TypeError("%s is %s, not a whole number" % (name, value))
    return struct.pack("<8I", n_ctx, n_batch, n_seq, n_logits, threads, KV_DTYPES[kv], cpu, 0)


class Plan:
    """
    Regions of the arena for an image header and a configuration.

    image: pointer to (at least) the 256 header bytes of an image.
    config: the bytes of a struct kllm_config.

    `n_bytes` is the size of the arena; `rows` yields (name, offset, bytes, what it holds).
    Raises KllmError(RANGE) if the configuration does not fit the model.
    """

    def __init__(self, image, config):
        size, fields = _abi.KLLM_PLAN
        self._raw = bytearray(size)
        status = native.kllm_plan(native.pointer(self._raw), image, native.pointer(config))
        if status != 0:
            off, kind = _abi.KLLM_IMAGE[1]["n_ctx_train"]
            n_train = struct.unpack(kind, bytes(native.view(image + off, 4)))[0]
            n_ctx = struct.unpack_from("<I", config)[0]
            where = "a context of %d is longer than the model's %d" % (n_ctx, n_train)
            raise KllmError(status, where)
        self.n_bytes = struct.unpack_from("<Q", self._raw, fields["n_bytes"][0])[0]

    def rows(self):
        """Yields (name, offset, bytes, what it holds) of every region, in order."""
        first = _abi.KLLM_PLAN[1]["region"][0]
        for i in range(len(REGIONS)):
            off, n_bytes = struct.unpack_from("<QQ", self._raw, first + 16 * i)
            yield REGIONS[i][0], off, n_bytes, REGIONS[i][1]
