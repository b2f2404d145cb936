"""Makes tiny GGUF models from a seed: what the model tests run on."""

import numpy as np

from kernel_llm.gguf import weights as w
from kernel_llm.gguf.write import Writer

DTYPES = {"f32": w.F32, "f16": w.F16, "q4_0": w.Q4_0, "q4_1": w.Q4_1, "q8_0": w.Q8_0}
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7}

# Words whose merges the byte-level vocabulary holds; a space is written as U+0120.
MERGED_WORDS = ("the", " the", " and", "ing", " of", " to", " a", " in", "er", "on", "ell", "llo")
SPM_WORDS = ("the", "\u2581the", "\u2581and", "ing", "\u2581of", "\u2581to", "\u2581a", "hello",
             "\u2581hello", "er", "on", "\u2581in")  # fmt: skip


def byte_chars():
    """Returns the 256 characters by which byte-level vocabularies of GPT-2's kind spell bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    chars, extra = {}, 256
    for byte in range(256):
        if byte in printable:
            chars[byte] = chr(byte)
        else:
            chars[byte] = chr(extra)
            extra += 1
    return [chars[byte] for byte in range(256)]


def bpe_metadata(pre="gpt-2", n_vocab=None):
    """Returns metadata of a byte-level BPE vocabulary: 256 bytes, merges, two control tokens."""
    spell = byte_chars()
    tokens, merges = list(spell), []
    for word in MERGED_WORDS:
        parts = [spell[byte] for byte in word.encode()]
        while len(parts) > 1:
            if parts[0] + parts[1] not in tokens:
                tokens.append(parts[0] + parts[1])
                merges.append(parts[0] + " " + parts[1])
            parts[:2] = [parts[0] + parts[1]]
    types = [1] * len(tokens)
    eos = len(tokens)
    tokens += ["<|endoftext|>", "<|im_end|>"]
    types += [3, 3]
    for idx in range((n_vocab or len(tokens)) - len(tokens)):
        tokens.append("[PAD%d]" % idx)
        types.append(5)
    return [
        ("tokenizer.ggml.model", "str", "gpt2"),
        ("tokenizer.ggml.pre", "str", pre),
        ("tokenizer.ggml.tokens", "[str]", tokens),
        ("tokenizer.ggml.token_type", "[i32]", types),
        ("tokenizer.ggml.merges", "[str]", merges),
        ("tokenizer.ggml.bos_token_id", "u32", eos),
        ("tokenizer.ggml.eos_token_id", "u32", eos),
        ("tokenizer.ggml.add_bos_token", "bool", False),
        ("tokenizer.ggml.add_space_prefix", "bool", False),
    ]


def spm_metadata():
    """Returns metadata of a SentencePiece vocabulary: <unk> <s> </s>, bytes, letters, words."""
    tokens, scores, types = ["<unk>", "<s>", "</s>"], [0.0, 0.0, 0.0], [2, 3, 3]
    for byte in range(256):
        tokens.append("<0x%02X>" % byte)
        scores.append(0.0)
        types.append(6)
    pieces = []
    for word in SPM_WORDS:  # each prefix, so that merging from the left reaches the word
        pieces += [word[:end] for end in range(2, len(word) + 1)]
    letters = sorted(set("".join(SPM_WORDS)) | set("abcdefghijklmnopqrstuvwxyz.,"))
    for rank, piece in enumerate(list(dict.fromkeys(pieces)) + letters):
        tokens.append(piece)
        scores.append(-float(rank))
        types.append(1)
    return [
        ("tokenizer.ggml.model", "str", "llama"),
        ("tokenizer.ggml.pre", "str", "default"),
        ("tokenizer.ggml.tokens", "[str]", tokens),
        ("tokenizer.ggml.scores", "[f32]", scores),
        ("tokenizer.ggml.token_type", "[i32]", types),
        ("tokenizer.ggml.bos_token_id", "u32", 1),
        ("tokenizer.ggml.eos_token_id", "u32", 2),
        ("tokenizer.ggml.unknown_token_id", "u32", 0),
        ("tokenizer.ggml.add_bos_token", "bool", True),
        ("tokenizer.ggml.add_eos_token", "bool", False),
        ("tokenizer.ggml.add_space_prefix", "bool", True),
    ]


def _vocab(vocab):
    metadata = spm_metadata() if vocab == "spm" else bpe_metadata(vocab)
    tokens = next(value for key, _, value in metadata if key == "tokenizer.ggml.tokens")
    return metadata, len(tokens)


def _matrix(rng, rows, cols, spread=1.0):
    return (rng.standard_normal((rows, cols)) * (spread / cols**0.5)).astype(np.float32)


def _around(rng, centre, n):
    return (centre + 0.1 * rng.standard_normal(n)).astype(np.float32)


def write_model(path, metadata, tensors, dtype):
    """
    Writes a GGUF file.

    tensors: list of (name, float32 array); 2-D ones get `dtype`, a key of DTYPES, but for learned
    positions. Returns the path.
    """
    table = []
    for name, values in tensors:
        vector = values.ndim == 1 or name == "position_embd.weight"
        table.append((name, w.F32 if vector else DTYPES[dtype], values.shape))
    metadata = [*metadata, ("general.file_type", "u32", FILE_TYPES[dtype])]
    with open(path, "wb") as file:
        writer = Writer(file, metadata, table)
        for (_, values), (_, to, _) in zip(tensors, table, strict=True):
            writer.write(w.encode(values, to).tobytes())
        writer.close()
    return path


def make_llama(path, dtype="f32", tied=True, seed=1, vocab="smollm", n_layer=2, n_embd=128,
               n_head=4, n_head_kv=2, n_ff=96, n_ctx=256, rope_base=10000.0, rope_factors=None,
               biases=False, extra=()):  # fmt: skip
    """
    Writes a llama model with random weights.

    dtype: of the matrices, a key of DTYPES. vocab: "spm", or a byte-level pre-tokenizer's name.
    rope_factors: n_embd / n_head / 2 floats for rope_freqs.weight. biases: also on Q, K, V, O.
    extra: more metadata, (key, kind, value). Returns the path.
    """
    rng = np.random.default_rng(seed)
    words, n_vocab = _vocab(vocab)
    head_dim = n_embd // n_head
    n_kv = n_head_kv * head_dim
    metadata = [
        ("general.architecture", "str", "llama"),
        ("general.name", "str", "tiny llama"),
        ("llama.block_count", "u32", n_layer),
        ("llama.context_length", "u32", n_ctx),
        ("llama.embedding_length", "u32", n_embd),
        ("llama.feed_forward_length", "u32", n_ff),
        ("llama.attention.head_count", "u32", n_head),
        ("llama.attention.head_count_kv", "u32", n_head_kv),
        ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        ("llama.rope.freq_base", "f32", rope_base),
        ("llama.rope.dimension_count", "u32", head_dim),
        ("llama.vocab_size", "u32", n_vocab),
        *words,
        *extra,
    ]
    tensors = [("token_embd.weight", _matrix(rng, n_vocab, n_embd, 8.0))]
    tensors.append(("output_norm.weight", _around(rng, 1, n_embd)))
    if not tied:
        tensors.append(("output.weight", _matrix(rng, n_vocab, n_embd, 2.0)))
    if rope_factors is not None:
        tensors.append(("rope_freqs.weight", np.array(rope_factors, np.float32)))
    for idx in range(n_layer):
        layer = [
            ("attn_norm.weight", _around(rng, 1, n_embd)),
            ("attn_q.weight", _matrix(rng, n_embd, n_embd, 2.0)),
            ("attn_k.weight", _matrix(rng, n_kv, n_embd, 2.0)),
            ("attn_v.weight", _matrix(rng, n_kv, n_embd)),
            ("attn_output.weight", _matrix(rng, n_embd, n_embd)),
            ("ffn_norm.weight", _around(rng, 1, n_embd)),
            ("ffn_gate.weight", _matrix(rng, n_ff, n_embd)),
            ("ffn_up.weight", _matrix(rng, n_ff, n_embd)),
            ("ffn_down.weight", _matrix(rng, n_embd, n_ff)),
        ]
        if biases:
            layer += [
                ("attn_q.bias", _around(rng, 0, n_embd)),
                ("attn_k.bias", _around(rng, 0, n_kv)),
                ("attn_v.bias", _around(rng, 0, n_kv)),
                ("attn_output.bias", _around(rng, 0, n_embd)),
            ]
        tensors += [("blk.%d.%s" % (idx, name), values) for name, values in layer]
    return write_model(path, metadata, tensors, dtype)


def make_gpt2(path, dtype="f32", tied=True, seed=1, n_layer=2, n_embd=64, n_head=2, n_ff=96,
              n_ctx=128, extra=()):  # fmt: skip
    """Writes a gpt2 model with random weights; the arguments are those of make_llama."""
    rng = np.random.default_rng(seed)
    words, n_vocab = _vocab("gpt-2")
    metadata = [
        ("general.architecture", "str", "gpt2"),
        ("general.name", "str", "tiny gpt2"),
        ("gpt2.block_count", "u32", n_layer),
        ("gpt2.context_length", "u32", n_ctx),
        ("gpt2.embedding_length", "u32", n_embd),
        ("gpt2.feed_forward_length", "u32", n_ff),
        ("gpt2.attention.head_count", "u32", n_head),
        ("gpt2.attention.layer_norm_epsilon", "f32", 1e-5),
        *words,
        *extra,
    ]
    tensors = [
        ("token_embd.weight", _matrix(rng, n_vocab, n_embd, 8.0)),
        ("position_embd.weight", _matrix(rng, n_ctx, n_embd)),
        ("output_norm.weight", _around(rng, 1, n_embd)),
        ("output_norm.bias", _around(rng, 0, n_embd)),
    ]
    if not tied:
        tensors.append(("output.weight", _matrix(rng, n_vocab, n_embd, 2.0)))
    for idx in range(n_layer):
        layer = [
            ("attn_norm.weight", _around(rng, 1, n_embd)),
            ("attn_norm.bias", _around(rng, 0, n_embd)),
            ("attn_qkv.weight", _matrix(rng, 3 * n_embd, n_embd, 2.0)),
            ("attn_qkv.bias", _around(rng, 0, 3 * n_embd)),
            ("attn_output.weight", _matrix(rng, n_embd, n_embd)),
            ("attn_output.bias", _around(rng, 0, n_embd)),
            ("ffn_norm.weight", _around(rng, 1, n_embd)),
            ("ffn_norm.bias", _around(rng, 0, n_embd)),
            ("ffn_up.weight", _matrix(rng, n_ff, n_embd)),
            ("ffn_up.bias", _around(rng, 0, n_ff)),
            ("ffn_down.weight", _matrix(rng, n_embd, n_ff)),
            ("ffn_down.bias", _around(rng, 0, n_embd)),
        ]
        tensors += [("blk.%d.%s" % (idx, name), values) for name, values in layer]
    return write_model(path, metadata, tensors, dtype)
