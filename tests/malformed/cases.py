"""
What a GGUF file can get wrong: one Case for each way, numbered by the list in docs/gguf.md.

Each is the valid file of builder.py with one change.
"""

import struct
from collections import namedtuple

from malformed.builder import (
    ARR,
    BOOL,
    F32,
    F64,
    I32,
    I64,
    STR,
    TYPE_F32,
    TYPE_Q8_0,
    U8,
    U32,
    U64,
    Info,
    text,
)

# number: of the list. code: name of the error. needle: what its text must hold. change: function
# that gets the File and spoils it; what it returns, if anything, replaces the built bytes.
# mark: the field of the builder whose byte offset the text must name. vocab: of the valid file.
# limits: {"module.NAME": value}, for caps that only huge files would reach.
Case = namedtuple("Case", "number title code needle change mark vocab limits")
CASES = []

FORMAT, RANGE, UNSUPPORTED = "FORMAT", "RANGE", "UNSUPPORTED"
EMBD, NORM, Q = "token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight"
TOKENS = "tokenizer.ggml.tokens"
BIG = (1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def add(number, title, code, needle, change, mark=None, vocab="bpe", limits=None):
    CASES.append(Case(number, title, code, needle, change, mark, vocab, limits or {}))


def attr(**values):
    """Sets attributes of the File."""
    return lambda f: [setattr(f, name, value) for name, value in values.items()] and None


def put(key, kind, value):
    """Sets a metadata value."""
    return lambda f: f.set(key, kind, value)


def raw(key, kind, data):
    """Sets a metadata value to bytes as they are."""
    return lambda f: f.pairs.__setitem__(key, (kind, data))


def drop(key):
    return lambda f: f.pairs.pop(key) and None


def tensor(name, /, **values):
    """Sets attributes of a tensor info."""
    return lambda f: [setattr(f.info(name), k, v) for k, v in values.items()] and None


def both(*changes):
    return lambda f: [change(f) for change in changes] and None


def cut(n_bytes):
    return lambda f: f.build()[:n_bytes]


def added(name, kind, dims, data):
    return lambda f: f.infos.append(Info(name, kind, dims, data))


def without(name):
    return lambda f: f.infos.remove(f.info(name))


# Header
add(1, "empty file", FORMAT, "magic", cut(0), "magic")
for n in (1, 3, 4, 7, 8, 15, 16, 23):
    add(1, "file of %d bytes" % n, FORMAT, "are left", cut(n))
add(2, "wrong magic", FORMAT, "magic", attr(magic=b"GGML"), "magic")
add(2, "swapped magic", UNSUPPORTED, "magic", attr(magic=b"FUGG"), "magic")
add(3, "version 0", FORMAT, "version", attr(version=0), "version")
for n in (1, 4, 99):
    add(3, "version %d" % n, UNSUPPORTED, "version", attr(version=n), "version")
add(3, "big-endian", UNSUPPORTED, "big-endian", attr(order=">"), "version")
for n in (12345, *BIG):
    add(4, "%d tensors" % n, FORMAT, "n_tensors", attr(n_tensor=n), "n_tensors")
    add(5, "%d pairs" % n, FORMAT, "n_kv", attr(n_kv=n), "n_kv")
add(4, "more tensors than the cap", RANGE, "n_tensors", attr(), "n_tensors",
    limits={"gguf.types.MAX_TENSOR": 5})  # fmt: skip
add(5, "more pairs than the cap", RANGE, "n_kv", attr(), "n_kv", limits={"gguf.types.MAX_KV": 5})

# Keys and values
add(6, "empty key", FORMAT, "metadata key 0 length",
    lambda f: f.extra_pairs.append(("", U8, b"\0")) or f.pairs.clear(), " key")  # fmt: skip
add(6, "key of 65536 bytes", FORMAT, "65536", put("k" * 65536, U8, 1), "k" * 65536 + " key")
add(6, "key longer than the file", FORMAT, "are left",
    lambda f: f.build()[:24] + struct.pack("<Q", 60000) + f.build()[32:])  # fmt: skip
for n in BIG:
    add(6, "key of %d bytes" % n, FORMAT, "metadata key 0 length",
        lambda f, n=n: f.build()[:24] + struct.pack("<Q", n) + f.build()[32:])  # fmt: skip
add(7, "key with NUL", FORMAT, "metadata key", put("a\0b", U8, 1))
add(7, "key of invalid UTF-8", FORMAT, "metadata key", put(b"a\xff", U8, 1))
add(7, "overlong UTF-8 in a key", FORMAT, "metadata key", put(b"a\xc0\x80", U8, 1))
add(7, "tensor name with NUL", FORMAT, "NUL", tensor(Q, name="blk.0.attn_q.weight\0x"))
add(7, "tensor name of invalid UTF-8", FORMAT, "UTF-8", tensor(Q, name=b"\xff\xfe"))
add(8, "duplicate key", FORMAT, "'general.architecture'",
    lambda f: f.extra_pairs.append(("general.architecture", STR, text("gpt2"))),
    "general.architecture key")  # fmt: skip
for n in (13, 255, 1 << 31, (1 << 32) - 1):
    add(9, "value type %d" % n, FORMAT, "'x' type", raw("x", n, bytes(64)), "x type")
for n in (1 << 20, *BIG):
    add(10, "string of %d bytes" % n, FORMAT, "'x'", raw("x", STR, struct.pack("<Q", n)), "x")
add(10, "string longer than the cap", RANGE, "'x'", put("x", STR, "y" * 100), "x",
    limits={"gguf.types.MAX_STRING_BYTES": 99})  # fmt: skip
for n in (13, 1 << 31, (1 << 32) - 1):
    add(11, "array of type %d" % n, FORMAT, "element type",
        raw("x", ARR, struct.pack("<IQ", n, 1 << 60)), "x element type")  # fmt: skip
add(11, "array of arrays", UNSUPPORTED, "element type",
    raw("x", ARR, struct.pack("<IQ", ARR, 1 << 60)), "x element type")  # fmt: skip
for kind in (U8, U32, U64, BOOL, STR):
    for n in (1 << 20, 1 << 61, *BIG):
        add(12, "array of %d of type %d" % (n, kind), FORMAT, "'x' count",
            raw("x", ARR, struct.pack("<IQ", kind, n)), "x count")  # fmt: skip
add(12, "array longer than the cap", RANGE, "count", put("x", (ARR, U8), [0] * 9), "x count",
    limits={"gguf.types.MAX_ARRAY": 8})  # fmt: skip
add(12, "more strings than the cap", RANGE, "count", put("x", (ARR, STR), ["y"] * 9), "x count",
    limits={"gguf.types.MAX_STRINGS": 8})  # fmt: skip
for n in (1 << 20, *BIG):
    data = struct.pack("<IQQ", STR, 3, 2) + b"ok" + struct.pack("<QQ", n, 0)
    add(13, "element of %d bytes" % n, FORMAT, "element 1", raw("x", ARR, data))
add(13, "element past the cap", RANGE, "element 1", put("x", (ARR, STR), ["y", "y" * 300]),
    limits={"gguf.types.MAX_STRING_BYTES": 299})  # fmt: skip
for n in (2, 255):
    add(14, "bool of %d" % n, FORMAT, "'x'", put("x", BOOL, n), "x")
add(14, "bool of 2 in an array", FORMAT, "element 1", put("x", (ARR, BOOL), [1, 2]))
for key in ("general.architecture", "llama.block_count", "llama.context_length",
            "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count",
            "llama.attention.layer_norm_rms_epsilon"):  # fmt: skip
    add(15, "no " + key, FORMAT, "'%s' is missing" % key, drop(key))
for kind, value in ((STR, "1"), (F32, 1.0), (BOOL, 1), ((ARR, STR), ["1"])):
    add(15, "block_count of type %s" % (kind,), FORMAT, "block_count",
        put("llama.block_count", kind, value))  # fmt: skip
add(15, "architecture an array", FORMAT, "general.architecture",
    put("general.architecture", (ARR, STR), ["llama"]))  # fmt: skip
add(15, "epsilon an integer", FORMAT, "rms_epsilon",
    put("llama.attention.layer_norm_rms_epsilon", U32, 1),
    "llama.attention.layer_norm_rms_epsilon")  # fmt: skip
add(15, "head_count an array of text", FORMAT, "head_count",
    put("llama.attention.head_count", (ARR, STR), ["1"]))  # fmt: skip
add(15, "negative block_count", RANGE, "block_count", put("llama.block_count", I32, -1),
    "llama.block_count")  # fmt: skip
add(15, "tokens a text", FORMAT, "tokens", put(TOKENS, STR, "abcd"))
for key in ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor",
            "rope.scale_linear"):  # fmt: skip
    for value in (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, -1.0):
        add(16, "%s of %s" % (key, value), RANGE, key, put("llama." + key, F32, value),
            "llama." + key)  # fmt: skip
for value in (1e300, 1.0, 0.99999999999, 1e-300):
    add(16, "epsilon of %s" % value, RANGE, "rms_epsilon",
        put("llama.attention.layer_norm_rms_epsilon", F64, value))  # fmt: skip
add(16, "frequency factor 0", RANGE, "rope_freqs",
    added("rope_freqs.weight", TYPE_F32, [16], struct.pack("<16f", *[1.0] * 15, 0.0)))  # fmt: skip
for n in (0, 1, 4, 24, 33, 2**31 + 1, 2**32 - 1):
    add(17, "alignment %d" % n, FORMAT, "alignment", put("general.alignment", U32, n),
        "general.alignment")  # fmt: skip
for n in (1 << 21, 1 << 30, 1 << 31):
    add(17, "alignment %d" % n, RANGE, "alignment", put("general.alignment", U32, n),
        "general.alignment")  # fmt: skip
for kind, value in ((U64, 32), (I32, 32), (F32, 32.0), (STR, "32"), ((ARR, U32), [32])):
    add(17, "alignment of type %s" % (kind,), FORMAT, "alignment",
        put("general.alignment", kind, value))  # fmt: skip
add(18, "part of a split model", UNSUPPORTED, "split.count", put("split.count", 2, 3))
add(18, "second part", UNSUPPORTED, "split.no", put("split.no", 2, 1), "split.no")

# Hyper-parameters
add(19, "unknown architecture", UNSUPPORTED, "'mamba'",
    put("general.architecture", STR, "mamba"), "general.architecture")  # fmt: skip
add(19, "architecture a number", FORMAT, "architecture", put("general.architecture", U32, 1))
for n in (0, 513, (1 << 32) - 1):
    add(20, "%d layers" % n, RANGE, "block_count", put("llama.block_count", U32, n),
        "llama.block_count")  # fmt: skip
for n in (0, 1025):
    add(21, "%d heads" % n, RANGE, "head_count", put("llama.attention.head_count", U32, n),
        "llama.attention.head_count")  # fmt: skip
for n in (0, 2):
    add(21, "%d KV heads of 1" % n, RANGE, "head_count_kv",
        put("llama.attention.head_count_kv", U32, n), "llama.attention.head_count_kv")  # fmt: skip
add(21, "2 KV heads of 3", FORMAT, "head_count_kv",
    both(put("llama.attention.head_count", U32, 3),
         put("llama.attention.head_count_kv", U32, 2)))  # fmt: skip
for n, code in ((0, RANGE), (1 << 20, RANGE), (33, UNSUPPORTED)):
    add(22, "embedding of %d" % n, code, "embedding_length",
        put("llama.embedding_length", U32, n), "llama.embedding_length")  # fmt: skip
add(22, "heads that do not divide the embedding", FORMAT, "head_count",
    both(put("llama.attention.head_count", U32, 3),
         put("llama.attention.head_count_kv", U32, 3)))  # fmt: skip
for n in (0, 34, 64):
    add(23, "%d rotated of 32" % n, RANGE, "dimension_count",
        put("llama.rope.dimension_count", U32, n), "llama.rope.dimension_count")  # fmt: skip
add(23, "31 rotated", RANGE, "odd", put("llama.rope.dimension_count", U32, 31))
for n, code in ((0, RANGE), (1024, RANGE), (48, UNSUPPORTED)):
    add(23, "head of %d" % n, code, "key_length", put("llama.attention.key_length", U32, n))
add(23, "head of 16", UNSUPPORTED, "head_count",
    both(put("llama.attention.head_count", U32, 2),
         put("llama.attention.head_count_kv", U32, 2)))  # fmt: skip
add(23, "values of another length", UNSUPPORTED, "value_length",
    put("llama.attention.value_length", U32, 64))  # fmt: skip
for n, code in ((0, RANGE), (1 << 20, RANGE), (48, UNSUPPORTED)):
    add(24, "feed-forward of %d" % n, code, "feed_forward_length",
        put("llama.feed_forward_length", U32, n), "llama.feed_forward_length")  # fmt: skip
for n in (0, (1 << 20) + 1, (1 << 32) - 1):
    add(25, "context of %d" % n, RANGE, "context_length", put("llama.context_length", U32, n),
        "llama.context_length")  # fmt: skip
for key in ("feed_forward_length", "attention.head_count", "attention.head_count_kv"):
    for values in ([], [1, 1], [32, 32, 32]):
        add(26, "%s per layer, %d of 1" % (key, len(values)), FORMAT, key,
            put("llama." + key, (ARR, U32), values))  # fmt: skip
add(26, "layers that differ", UNSUPPORTED, "feed_forward_length",
    both(put("llama.block_count", U32, 2),
         put("llama.feed_forward_length", (ARR, U32), [32, 64])))  # fmt: skip
add(27, "vocab_size of 5, embedding of 4", FORMAT, "vocab_size",
    put("llama.vocab_size", U32, 5), "llama.vocab_size")  # fmt: skip
add(27, "3 tokens, embedding of 4", FORMAT, "tokens", put(TOKENS, (ARR, STR), ["a", "b", "ab"]))
add(27, "embedding of 3, 4 tokens", FORMAT, "tokens",
    tensor(EMBD, dims=[32, 3], data=bytes(3 * 34)))  # fmt: skip

# Tensor infos
add(28, "empty name", FORMAT, "name length", tensor(Q, name=""), " name")
add(28, "name of 64 bytes", FORMAT, "name length", tensor(Q, name="n" * 64), "n" * 64 + " name")


def long_name(n):
    def change(f):
        f.build()
        off, data = f.marks[EMBD + " name"][0], f.build()
        return data[:off] + struct.pack("<Q", n) + data[off + 8 :]

    return change


for n in BIG:
    add(28, "name of %d bytes" % n, FORMAT, "name length", long_name(n), EMBD + " name")
add(29, "duplicate tensor", FORMAT, "twice", tensor(NORM, name=Q))
for n in (0, 5, 255, (1 << 32) - 1):
    add(30, "%d dimensions" % n, FORMAT, "n_dims", tensor(Q, n_dim=n), Q + " n_dims")
for n in (0, 1 << 63, (1 << 64) - 1):
    add(31, "dimension of %d" % n, FORMAT, "dimension 1", tensor(Q, dims=[32, n]), Q + " dim 1")
    add(31, "row of %d" % n, FORMAT, "dimension 0", tensor(Q, dims=[n, 32]), Q + " dim 0")
add(32, "elements wrap", FORMAT, "dims", tensor(NORM, dims=[(1 << 63) - 1, 2, 1, 1], kind=24))
add(32, "elements wrap from small dimensions", FORMAT, "dims",
    tensor(NORM, dims=[1 << 30, 1 << 30, 1 << 4], kind=24))  # fmt: skip
add(33, "bytes wrap", FORMAT, "dims", tensor(NORM, dims=[1 << 30, 1 << 30, 4]))
add(33, "bytes of exabytes", FORMAT, "dims", tensor(NORM, dims=[1 << 30, 1 << 30]))
add(34, "padding wraps", FORMAT, "dims", tensor(NORM, dims=[4, (1 << 30) - 1, (1 << 30) + 1]))
add(35, "sum of sizes wraps", FORMAT, "dims",
    both(tensor(EMBD, kind=TYPE_F32, dims=[1 << 30, 1 << 31]),
         tensor(NORM, dims=[1 << 30, 1 << 31])))  # fmt: skip
add(36, "dimension of 2^31", FORMAT, "dimension 1", tensor(Q, dims=[32, 1 << 31]), Q + " dim 1")
for n in (4, 5, 31, 32, 33, 36, 37, 38, 42, 255, 1 << 31, (1 << 32) - 1):
    add(37, "tensor type %d" % n, FORMAT, "type", tensor(Q, kind=n), Q + " type")
for n, name in ((6, "Q5_0"), (20, "IQ4_NL")):
    size = {6: 22, 20: 18}[n] * 32
    add(37, "tensor type %s" % name, UNSUPPORTED, name, tensor(Q, kind=n, data=bytes(size)))
add(38, "rows of 48 in blocks of 32", FORMAT, "whole blocks", tensor(Q, dims=[48, 32]))
for n in (1, 16, 31):
    add(39, "offset %d" % n, FORMAT, "multiple", tensor(EMBD, off=n), EMBD + " offset")
add(40, "gap", FORMAT, "offset", tensor(Q, off=1 << 14), Q + " offset")
add(40, "overlap", FORMAT, "offset", tensor(Q, off=0), Q + " offset")
add(40, "wrong order", FORMAT, "offset", lambda f: f.infos[0].__setattr__("off", 1152))
for n in (1 << 20, 1 << 63, (1 << 64) - 32):
    add(41, "offset %d" % n, FORMAT, "offset", tensor(Q, off=n), Q + " offset")
add(41, "tensor past the file", FORMAT, "do not fit",
    lambda f: f.build()[: -32 * 34 * 3])  # fmt: skip
add(41, "data start past the file", FORMAT, "do not fit",
    lambda f: f.build()[: sum(f.marks["blk.0.ffn_down.weight offset"])])  # fmt: skip
add(42, "one byte short", FORMAT, "blk.0.ffn_down.weight", lambda f: f.build()[:-1])
for name in (EMBD, NORM, Q, "blk.0.ffn_down.weight"):
    add(43, "no " + name, FORMAT, "'%s' is missing" % name, without(name))
add(43, "matrix of another shape", FORMAT, Q, tensor(Q, dims=[32, 64], data=bytes(64 * 34)))
add(43, "vector as matrix", FORMAT, NORM, tensor(NORM, dims=[32, 1]))
add(43, "embedding as vector", FORMAT, EMBD, tensor(EMBD, dims=[128]))
add(43, "vector of q8_0", UNSUPPORTED, NORM, tensor(NORM, kind=TYPE_Q8_0, data=bytes(34)))
add(43, "unknown tensor", UNSUPPORTED, "blk.0.ffn_gate.bias",
    added("blk.0.ffn_gate.bias", TYPE_F32, [32], bytes(128)))  # fmt: skip
add(43, "tensor of a layer too many", UNSUPPORTED, "blk.1.attn_norm",
    added("blk.1.attn_norm.weight", TYPE_F32, [32], bytes(128)))  # fmt: skip
add(43, "last tensor bad", FORMAT, "ffn_down", tensor("blk.0.ffn_down.weight", off=32))
add(44, "more than the machine can address", UNSUPPORTED, "addressed", attr(),
    limits={"gguf.types.MAX_FILE_BYTES": 4096})  # fmt: skip

# Weights
for bits in (0x7C00, 0xFC00, 0x7E00):
    data = bytes(34 * 31) + struct.pack("<H", bits) + bytes(32)
    add(45, "q8_0 scale %04X" % bits, FORMAT, Q, tensor(Q, data=data))
for value in (float("nan"), float("inf")):
    add(45, "norm weight %s" % value, FORMAT, NORM,
        tensor(NORM, data=struct.pack("<32f", *[1.0] * 31, value)))  # fmt: skip

# Tokenizer
TYPES, MERGES, SCORES = "token_type", "merges", "scores"


def vocab(name, kind, value):
    return put("tokenizer.ggml." + name, kind, value)


add(46, "unknown tokenizer", UNSUPPORTED, "'bert'", vocab("model", STR, "bert"))
add(46, "no tokenizer", FORMAT, "tokenizer.ggml.model", drop("tokenizer.ggml.model"))
add(46, "unknown pre-tokenizer", UNSUPPORTED, "'klingon'", vocab("pre", STR, "klingon"))
add(47, "no tokens", FORMAT, TOKENS, drop(TOKENS))
add(47, "tokens empty", FORMAT, TOKENS, put(TOKENS, (ARR, STR), []))
add(47, "tokens numbers", FORMAT, TOKENS, put(TOKENS, (ARR, U32), [1, 2, 3, 4]))
add(48, "3 token types of 4", FORMAT, TYPES, vocab(TYPES, (ARR, I32), [1, 1, 1]))
add(48, "token types of u8", FORMAT, TYPES, vocab(TYPES, (ARR, U8), [1, 1, 1, 3]))
add(48, "scores too few", FORMAT, SCORES, vocab(SCORES, (ARR, F32), [0.0]), vocab="spm")
add(48, "scores of u8", FORMAT, SCORES, vocab(SCORES, (ARR, U8), [0] * 260), vocab="spm")
add(48, "scores a text", FORMAT, SCORES, vocab(SCORES, STR, "x" * 260), vocab="spm")
for n in (-1, 7, 1 << 30):
    add(49, "token type %d" % n, FORMAT, TYPES + "[2]", vocab(TYPES, (ARR, I32), [1, 1, n, 3]))


def byte_token(idx, name):
    tokens = ["<unk>", "<s>", "</s>", *["<0x%02X>" % byte for byte in range(256)], "a"]
    tokens[idx] = name
    return put(TOKENS, (ARR, STR), tokens)


for name in ("<0x-1>", "<0xZZ>", "<0x1>", "<0x001>", "<0x+1>", "0x01", ""):
    add(50, "byte token %r" % name, FORMAT, "tokens", byte_token(4, name), vocab="spm")
add(50, "byte token missing", FORMAT, "<0x01>", byte_token(4, "<0x00>"), vocab="spm")
for name in ("bos", "eos", "unknown", "padding", "eot"):
    for n in (4, 1 << 20, (1 << 32) - 2):
        add(51, "%s id %d of 4" % (name, n), RANGE, name + "_token_id",
            vocab(name + "_token_id", U32, n))  # fmt: skip
add(51, "negative id", RANGE, "eos_token_id", vocab("eos_token_id", I64, -2))
add(51, "default id past a tiny vocabulary", RANGE, "token_id",
    both(put(TOKENS, (ARR, STR), ["a"]), vocab(SCORES, (ARR, F32), [0.0]),
         vocab(TYPES, (ARR, I32), [1]), put("llama.vocab_size", U32, 1),
         tensor(EMBD, dims=[32, 1], data=bytes(34))), vocab="spm")  # fmt: skip
add(52, "add_bos without bos", FORMAT, "add_bos_token", vocab("add_bos_token", BOOL, 1))
add(52, "add_eos without eos", FORMAT, "add_eos_token",
    both(vocab("add_eos_token", BOOL, 1), drop("tokenizer.ggml.eos_token_id")))  # fmt: skip
add(53, "no merges", FORMAT, MERGES, drop("tokenizer.ggml.merges"))
add(53, "merges numbers", FORMAT, MERGES, vocab(MERGES, (ARR, U32), [1]))
for merge in ("ab", "a ", " b", "", "a x", "x b", "b a"):
    add(53, "merge %r" % merge, FORMAT, MERGES + "[0]", vocab(MERGES, (ARR, STR), [merge]))
add(53, "merge twice", FORMAT, MERGES + "[1]", vocab(MERGES, (ARR, STR), ["a b", "a b"]))
add(53, "more merges than the cap", RANGE, MERGES, attr(), limits={"_abi.KLLM_MAX_MERGE": 1})
add(55, "token of 1025 bytes", RANGE, TOKENS + "[1]",
    put(TOKENS, (ARR, STR), ["a", "b" * 1025, "ab", "<|e|>"]))  # fmt: skip
add(55, "empty normal token", FORMAT, TOKENS + "[1]",
    put(TOKENS, (ARR, STR), ["a", "", "ab", "<|e|>"]))  # fmt: skip


def last_padding_missing(f):
    f.set("general.alignment", U32, 128)
    f.alignment = 128
    return f.build()[:-64]  # 1088 bytes of the last matrix are padded to 1152


# What must be accepted: number of the list or 0, title, change, vocab.
ACCEPTED = [
    (0, "as it is", attr(), "bpe"),
    (0, "SentencePiece", attr(), "spm"),
    (3, "version 2", attr(version=2), "bpe"),
    (42, "trailing bytes", attr(tail=b"xyz" * 1000), "bpe"),
    (42, "last padding missing", last_padding_missing, "bpe"),
    (0, "alignment 64", both(put("general.alignment", U32, 64), attr(alignment=64)), "bpe"),
    (54, "duplicate tokens", put(TOKENS, (ARR, STR), ["a", "b", "ab", "a"]), "bpe"),
    (0, "block_count of u64", put("llama.block_count", U64, 1), "bpe"),
    (0, "block_count of i32", put("llama.block_count", I32, 1), "bpe"),
    (0, "block_count of u8", put("llama.block_count", U8, 1), "bpe"),
    (26, "one per layer", put("llama.feed_forward_length", (ARR, I32), [32]), "bpe"),
    (16, "epsilon of f64", put("llama.attention.layer_norm_rms_epsilon", F64, 1e-5), "bpe"),
    (18, "one part of one", both(put("split.count", 2, 1), put("split.no", 2, 0)), "bpe"),
    (0, "text of invalid UTF-8", put("general.name", STR, b"\xff\xfe"), "bpe"),
]
for kind in (U8, 1, 2, 3, U32, I32, F32, BOOL, U64, I64, F64):
    ACCEPTED.append((0, "unknown key of type %d" % kind, put("x.y", kind, 1), "bpe"))
    ACCEPTED.append((0, "unknown array of type %d" % kind, put("x", (ARR, kind), [1, 0]), "bpe"))
    ACCEPTED.append((0, "empty array of type %d" % kind, put("x", (ARR, kind), []), "bpe"))
ACCEPTED.append((0, "unknown text", put("x.y", STR, "z"), "bpe"))
ACCEPTED.append((0, "unknown texts", put("x.y", (ARR, STR), ["", "z"]), "bpe"))
