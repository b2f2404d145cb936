# SPDX-License-Identifier: Apache-2.0
"""Models with random weights of stated sizes, packed once into the cache."""

import hashlib
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benches.machine import free_bytes
from kernel_llm.files import cache_dir

SEED = 1
N_VOCAB = 8192
N_CTX = 512
HEAD_DIM = 64
WEIGHT_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
_TILE = 1 << 20  # weights drawn; they repeat, which no kernel can see


@dataclass(frozen=True)
class Shape:
    """A llama model of heads of 64 with tied output. n_head_kv: of keys and values, 0 for all."""

    n_layer: int
    n_embd: int
    n_ff: int
    n_head_kv: int = 0
    n_vocab: int = N_VOCAB

    @property
    def n_weight(self):
        return self.n_layer * self.layer_weights + self.n_vocab * self.n_embd

    @property
    def layer_weights(self):
        d = self.n_embd
        return 2 * d * d + 2 * d * self.kv_width + 3 * d * self.n_ff

    @property
    def kv_width(self):
        return self.n_head_kv * HEAD_DIM or self.n_embd


# Parameters: nano 17M (6 layers x 384), then 15M, 60M, 242M, 1.0B.
SHAPES = {
    "nano": Shape(6, 384, 1536),
    "tiny": Shape(3, 512, 1632),
    "small": Shape(6, 768, 2816),
    "medium": Shape(12, 1152, 4064),
    "large": Shape(24, 1792, 5248),
}


def weight_bytes(shape, dtype):
    """Returns the bytes of weights that one token reads."""
    return int(shape.n_weight * WEIGHT_BYTES[dtype])


def why_not(shape, dtype):
    """Returns why a model of that size cannot be measured here, "" if it can."""
    need = weight_bytes(shape, dtype)
    if need * 1.2 > free_bytes() > 0:
        return f"needs {need / 1e9:.1f} GB of memory, {free_bytes() / 1e9:.1f} GB are free"
    folder = cache_dir("bench")
    if need * 2.5 > shutil.disk_usage(folder).free:
        return f"needs {need * 2.5 / 1e9:.1f} GB of disk in {folder}"
    return ""


def seeded_image(size, dtype):
    """Returns the path of the packed model, made first if it is not in the cache. OSError."""
    from kernel_llm import _abi
    from kernel_llm.pack import pack

    shape = SHAPES[size]
    text = f"{shape} {dtype} {SEED} {N_VOCAB} {N_CTX} {_abi.KLLM_IMAGE_LAYOUT} {_abi.ABI_VERSION}"
    name = f"seeded-{size}-{dtype}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.kllm"
    path = cache_dir("bench") / name
    if not path.exists():
        for old in path.parent.glob(f"seeded-{size}-{dtype}-*.kllm"):
            old.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".seeded-") as folder:
            gguf = Path(folder) / "model.gguf"
            write_gguf(gguf, shape, dtype)
            pack(gguf, path, _silent)
    return path


def write_gguf(path, shape, dtype):
    """Writes the GGUF file of a shape with weights of that type."""
    from kernel_llm.gguf.write import Writer

    number = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}[dtype]
    d, ff, kv = shape.n_embd, shape.n_ff, shape.kv_width
    table = [("token_embd.weight", number, (shape.n_vocab, d)), ("output_norm.weight", 0, (d,))]
    for i in range(shape.n_layer):
        table += [(f"blk.{i}.{name}.weight", kind, dims) for name, kind, dims in (
            ("attn_norm", 0, (d,)), ("attn_q", number, (d, d)), ("attn_k", number, (kv, d)),
            ("attn_v", number, (kv, d)), ("attn_output", number, (d, d)), ("ffn_norm", 0, (d,)),
            ("ffn_gate", number, (ff, d)), ("ffn_up", number, (ff, d)),
            ("ffn_down", number, (d, ff)))]  # fmt: skip
    tile = _tile(dtype)
    with open(path, "wb") as file:
        writer = Writer(file, _metadata(shape), table)
        for _, kind, dims in table:
            if kind == 0 and len(dims) == 1:
                writer.write(np.ones(dims[0], "<f4").tobytes())
                continue
            left = int(np.prod(dims) * WEIGHT_BYTES[dtype])
            while left:
                part = tile[: min(left, len(tile))]
                writer.write(part)
                left -= len(part)
        writer.close()


def _tile(dtype):
    """Returns the bytes of _TILE weights with a spread of 0.02."""
    rng = np.random.default_rng(SEED)
    if dtype in ("f32", "f16"):
        values = rng.standard_normal(_TILE, np.float32) * np.float32(0.02)
        return values.astype("<f4" if dtype == "f32" else "<f2").tobytes()
    n_quant, spread = (16, 4.6) if dtype == "q4_0" else (32, 74.0)
    blocks = np.empty((_TILE // 32, 2 + n_quant), np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(0.02 / spread).tobytes(), np.uint8)
    blocks[:, 2:] = rng.integers(0, 256, (len(blocks), n_quant), np.uint8)
    return blocks.tobytes()


def _metadata(shape):
    arch = [
        ("general.architecture", "str", "llama"),
        ("general.name", "str", "seeded"),
        ("llama.block_count", "u32", shape.n_layer),
        ("llama.embedding_length", "u32", shape.n_embd),
        ("llama.feed_forward_length", "u32", shape.n_ff),
        ("llama.attention.head_count", "u32", shape.n_embd // HEAD_DIM),
        ("llama.attention.head_count_kv", "u32", shape.kv_width // HEAD_DIM),
        ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        ("llama.context_length", "u32", N_CTX),
    ]
    return arch + _vocab(shape.n_vocab)


def _vocab(n_vocab):
    """Returns a byte-level vocabulary of n_vocab tokens: bytes, pairs of characters, fillers."""
    chars = list(byte_chars())
    merges = [(a, b) for a in chars[:89] for b in chars[:89]][: n_vocab - 257]
    tokens = chars + [a + b for a, b in merges]
    fillers = [f"[{i}]" for i in range(n_vocab - len(tokens))]
    end = len(tokens)
    return [
        ("tokenizer.ggml.model", "str", "gpt2"),
        ("tokenizer.ggml.pre", "str", "gpt-2"),
        ("tokenizer.ggml.tokens", "[str]", tokens + fillers),
        ("tokenizer.ggml.token_type", "[i32]", [1] * end + [3] * len(fillers)),
        ("tokenizer.ggml.merges", "[str]", [f"{a} {b}" for a, b in merges]),
        ("tokenizer.ggml.bos_token_id", "u32", end),
        ("tokenizer.ggml.eos_token_id", "u32", end),
    ]


def byte_chars():
    """Returns {character: byte}, by which byte-level vocabularies of GPT-2's kind spell bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    chars = {chr(b): b for b in shown}
    chars.update((chr(256 + i), b) for i, b in enumerate(hidden))
    return chars


def _silent(_title):
    return nullcontext(lambda done, total: None)
