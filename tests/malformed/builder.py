"""
Writes GGUF files field by field, right or wrong as told. Knows the format on its own: nothing of
kernel_llm is used here.
"""

import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B",
           U64: "Q", I64: "q", F64: "d"}  # fmt: skip
TYPE_F32, TYPE_F16, TYPE_Q4_0, TYPE_Q8_0 = 0, 1, 2, 8


def text(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<Q", len(data)) + data


def number(kind, value):
    return struct.pack("<" + FORMATS[kind], value)


def array(kind, values):
    """Returns the bytes of an array value: element type, count, elements."""
    items = [text(v) if kind == STR else number(kind, v) for v in values]
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


class Info:
    """One tensor info; dims in GGUF's order. Fields may be set to anything."""

    def __init__(self, name, kind, dims, data):
        self.name, self.kind, self.dims, self.data = name, kind, list(dims), data
        self.n_dim = None  # as many as dims
        self.off = None  # behind the tensors before


class File:
    """
    A file to be built. pairs: key -> (type, bytes of the value); infos: list of Info.

    Counts are right unless set. After build(), marks says where each field is: name ->
    (offset, bytes).
    """

    def __init__(self):
        self.magic, self.version = b"GGUF", 3
        self.n_tensor = self.n_kv = None
        self.pairs, self.extra_pairs = {}, []
        self.infos = []
        self.alignment = 32
        self.tail = b""
        self.order = "<"

    def set(self, key, kind, value):
        """Sets a scalar, a text, or with kind (ARR, element type) an array."""
        if isinstance(kind, tuple):
            self.pairs[key] = (ARR, array(kind[1], value))
        else:
            self.pairs[key] = (kind, text(value) if kind == STR else number(kind, value))

    def info(self, name):
        return next(info for info in self.infos if info.name == name)

    def _put(self, out, mark, data):
        self.marks[mark] = (len(out), len(data))
        out += data

    def build(self):
        self.marks, out = {}, bytearray()
        pairs = [(key, *value) for key, value in self.pairs.items()] + self.extra_pairs
        n_tensor = len(self.infos) if self.n_tensor is None else self.n_tensor
        n_kv = len(pairs) if self.n_kv is None else self.n_kv
        self._put(out, "magic", self.magic)
        self._put(out, "version", struct.pack(self.order + "I", self.version))
        self._put(out, "n_tensors", struct.pack(self.order + "Q", n_tensor))
        self._put(out, "n_kv", struct.pack(self.order + "Q", n_kv))
        for key, kind, value in pairs:
            name = key if isinstance(key, str) else key.decode("utf-8", "replace")
            self._put(out, name + " key", text(key)[:8])
            out += text(key)[8:]
            self._put(out, name + " type", struct.pack("<I", kind))
            if kind == ARR:
                self._put(out, name + " element type", value[:4])
                self._put(out, name + " count", value[4:12])
                self._put(out, name + " elements", value[12:])
            else:
                self._put(out, name, value)
        self._put_infos(out)
        out += bytes(-len(out) % self.alignment)
        for info in self.infos:
            out += info.data + bytes(-len(info.data) % self.alignment)
        return bytes(out) + self.tail

    def _put_infos(self, out):
        off = 0
        for info in self.infos:
            name = (
                info.name if isinstance(info.name, str) else info.name.decode("utf-8", "replace")
            )
            n_dim = len(info.dims) if info.n_dim is None else info.n_dim
            self._put(out, name + " name", text(info.name)[:8])
            out += text(info.name)[8:]
            self._put(out, name + " n_dims", struct.pack("<I", n_dim))
            for axis, dim in enumerate(info.dims):
                self._put(out, "%s dim %d" % (name, axis), struct.pack("<Q", dim))
            self._put(out, name + " type", struct.pack("<I", info.kind))
            self._put(
                out, name + " offset", struct.pack("<Q", off if info.off is None else info.off)
            )
            off += len(info.data) + -len(info.data) % self.alignment


def _bpe(file):
    file.set("tokenizer.ggml.model", STR, "gpt2")
    file.set("tokenizer.ggml.pre", STR, "gpt-2")
    file.set("tokenizer.ggml.tokens", (ARR, STR), ["a", "b", "ab", "<|e|>"])
    file.set("tokenizer.ggml.token_type", (ARR, I32), [1, 1, 1, 3])
    file.set("tokenizer.ggml.merges", (ARR, STR), ["a b"])
    file.set("tokenizer.ggml.eos_token_id", U32, 3)
    return 4


def _spm(file):
    tokens = ["<unk>", "<s>", "</s>", *["<0x%02X>" % byte for byte in range(256)], "a"]
    file.set("tokenizer.ggml.model", STR, "llama")
    file.set("tokenizer.ggml.tokens", (ARR, STR), tokens)
    file.set("tokenizer.ggml.scores", (ARR, F32), [0.0] * 259 + [-1.0])
    file.set("tokenizer.ggml.token_type", (ARR, I32), [2, 3, 3] + [6] * 256 + [1])
    return 260


def _q8_0(rows, cols):
    return struct.pack("<e32b", 0.01, *range(-16, 16)) * (rows * cols // 32)


def valid(vocab="bpe"):
    """Returns the File of a one-layer llama model of q8_0 matrices that is right throughout."""
    file = File()
    file.set("general.architecture", STR, "llama")
    n_vocab = _spm(file) if vocab == "spm" else _bpe(file)
    for key, value in (
        ("block_count", 1),
        ("context_length", 16),
        ("embedding_length", 32),
        ("feed_forward_length", 32),
        ("attention.head_count", 1),
        ("attention.head_count_kv", 1),
        ("rope.dimension_count", 32),
        ("vocab_size", n_vocab),
    ):
        file.set("llama." + key, U32, value)
    file.set("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)
    file.set("llama.rope.freq_base", F32, 10000.0)
    names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    file.infos.append(Info("token_embd.weight", TYPE_Q8_0, [32, n_vocab], _q8_0(n_vocab, 32)))
    norm = struct.pack("<32f", *[1.0] * 32)
    for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"):
        file.infos.append(Info(name, TYPE_F32, [32], norm))
    for name in names:
        name = "blk.0.%s.weight" % name
        file.infos.append(Info(name, TYPE_Q8_0, [32, 32], _q8_0(32, 32)))
    return file
