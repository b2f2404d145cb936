"""Small vocabularies made on the spot, and the tokenizers library set up like each of ours."""

import random
import struct
from array import array

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from kernel_llm import _native as native
from kernel_llm.encoder import Encoder
from kernel_llm.gguf.read import GGUF
from kernel_llm.tokenizer.pre_patterns import NAMES, PATTERNS
from kernel_llm.tokenizer.section import pack_vocab
from kernel_llm.tokenizer.tables import byte_of_char
from tokenizer import Tokenizer as Twin

KEY = "tokenizer.ggml."
CHAR_OF_BYTE = {byte: char for char, byte in byte_of_char.items()}

# The expressions of the published tokenizer.json files; smollm's has Digits for the first.
STAGES = {NAMES[pre]: list(stages) for pre, stages in PATTERNS.items()}
STAGES["smollm"][0] = pre_tokenizers.Digits(individual_digits=True)
LOOKUP_FIRST = ("llama-bpe", "tekken")


def oracle_cutter(pre):
    """Returns the tokenizers library's pre-tokenizer for a name, with its byte characters."""
    stages = [pre_tokenizers.Split(Regex(stage), "isolated") if isinstance(stage, str) else stage
              for stage in STAGES[pre]]  # fmt: skip
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*stages, byte_level])


def oracle(metadata, pre):
    """Returns the tokenizers library's tokenizer of a byte-level vocabulary."""
    tokens = metadata[KEY + "tokens"]
    known = {token.decode(): id for id, token in reversed(list(enumerate(tokens)))}
    merges = [tuple(merge.decode().split(" ")) for merge in metadata[KEY + "merges"]]
    result = Tokenizer(models.BPE(known, merges, ignore_merges=pre in LOOKUP_FIRST))
    result.pre_tokenizer = oracle_cutter(pre)
    return result


def raw(chars):
    """Returns the bytes that byte characters stand for."""
    return bytes([byte_of_char[char] for char in chars])


def visible(data):
    """Returns bytes as the characters of byte-level BPE, encoded."""
    return "".join([CHAR_OF_BYTE[byte] for byte in data]).encode()


def byte_level(pre="gpt-2", merges=(), specials=(), users=()):
    """
    Returns the metadata of a byte-level vocabulary: 256 bytes, what merges make, special tokens.

    merges: pairs of byte strings, in order of rank.
    """
    tokens = [visible(bytes([byte])) for byte in range(256)]
    for left, right in merges:
        token = visible(left + right)
        if token not in tokens[256:]:
            tokens.append(token)
    types = [1] * len(tokens) + [3] * len(specials) + [4] * len(users)
    tokens += [*specials, *users]
    return {
        KEY + "model": "gpt2", KEY + "pre": pre, KEY + "tokens": tokens, KEY + "token_type": types,
        KEY + "merges": [visible(left) + b" " + visible(right) for left, right in merges],
        KEY + "add_bos_token": False,
    }  # fmt: skip


def pairs(pre="gpt-2", seed=1):
    """
    Returns a byte-level vocabulary in which nearly all neighbours merge, in a random order.

    Where a word begins shows in its tokens, and merges compete as they never do in a real one.
    """
    letters = " \n\r\t'/.,$aeéAEÉsStTrlLdDmv019٣中\u017fʰ́".encode()
    alphabet = sorted({bytes([byte]) for byte in letters})
    merges = [(left, right) for left in alphabet for right in alphabet]
    rng = random.Random(seed)
    rng.shuffle(merges)
    merges = merges[:700]
    seconds = [left + right for left, right in merges]
    taken = set(merges)
    while len(merges) < 1200:
        pair = rng.choice(seconds), rng.choice(seconds + alphabet)
        pair = pair if rng.random() < 0.5 else pair[::-1]
        if pair not in taken:
            taken.add(pair)
            merges.append(pair)
    return byte_level(pre, merges)


def sentencepiece(**more):
    """Returns the metadata of a SentencePiece vocabulary with byte tokens and 600 pieces."""
    rng = random.Random(3)
    pieces = {"▁", "▁▁"} | set("etaoinshrdé中")
    while len(pieces) < 600:
        left = rng.choice(sorted(pieces))
        right = rng.choice(sorted(piece for piece in pieces if "▁" not in piece))
        pieces.add(left + right)
    pieces = sorted(pieces, key=lambda piece: (len(piece), piece))
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    n_fixed = len(tokens)
    tokens += [piece.encode() for piece in pieces]
    scores = [0.0] * n_fixed + [-float(rng.randrange(300)) for _ in pieces]
    return {
        KEY + "model": "llama", KEY + "tokens": tokens, KEY + "scores": scores,
        KEY + "token_type": [2, 3, 3] + [6] * 256 + [1] * len(pieces),
        **{KEY + name: value for name, value in more.items()},
    }  # fmt: skip


LETTERS = "etaoinshrdé中"


def unigram(seed=4, **more):
    """Returns the metadata of a unigram vocabulary of 500 pieces, with scores of few digits."""
    rng = random.Random(seed)
    pieces = {"▁", *LETTERS[:-1], *("▁" + letter for letter in LETTERS)}
    while len(pieces) < 500:
        pieces.add(
            rng.choice(("", "▁")) + "".join(rng.choices(LETTERS[:6], k=rng.randrange(2, 6)))
        )
    pieces = sorted(pieces)
    return {
        KEY + "model": "t5",
        KEY + "tokens": [b"<pad>", b"</s>", b"<unk>", *map(str.encode, pieces)],
        KEY + "scores": [0.0, 0.0, 0.0, *(-float(rng.randrange(8, 80)) / 4 for _ in pieces)],
        KEY + "token_type": [3, 3, 2, *(1 for _ in pieces)],
        **{KEY + name: value for name, value in more.items()},
    }  # fmt: skip


def trie(replacements):
    """
    Returns a precompiled character map of {bytes: bytes}.

    A unit is offset << 10 | has_leaf << 8 | label; a leaf's unit is its top bit and a place. What
    follows each node has a block of 256 units to itself.
    """
    nodes = sorted({key[:end] for key in replacements for end in range(len(key) + 1)})
    block = {node: 256 * idx for idx, node in enumerate(nodes, 1)}
    units = [0] * (256 * (len(nodes) + 1))
    texts = b""
    for node in nodes:
        unit = block[node[:-1]] + node[-1] if node else 0
        units[unit] = (unit ^ block[node]) << 10 | (node in replacements) << 8
        units[unit] |= node[-1] if node else 0
        if node in replacements:
            units[block[node]] = 1 << 31 | len(texts)
            texts += replacements[node] + b"\0"
    return struct.pack(f"<{1 + len(units)}I", 4 * len(units), *units) + texts


MAP = trie({b"X": b"eta", "X\u0301".encode(): "é".encode(), b"\t": b" ", b"\n": b" ", b"Q": b""})


def read_metadata(path):
    """Returns the metadata of a GGUF file."""
    return GGUF(str(path)).metadata


def encoder(section):
    """Returns the C encoder of a vocab section that passes its check."""
    held = bytearray(section)
    status, bad_off = check(held)
    assert status == 0, f"kllm_vocab_check: {status} at byte {bad_off}"
    result = Encoder(native.ffi.cast("char *", native.pointer(held)))
    result.section = held  # it must outlive the pointer
    return result


def check(section):
    """Returns (status, bad_off) of kllm_vocab_check."""
    bad_off = array("Q", [0])
    held = bytearray(section)
    status = native.kllm_vocab_check(native.pointer(held), len(held), native.pointer(bad_off))
    return status, bad_off[0]


TEXT_ALPHABET = (
    " \n\r\t'/.,$!aeéAEÉsStTrlLdDmv0123٣½中文字\u017fʰª́한\u3000\x85\xa0\u2028🦙\u200d\ufe0f\x00"
)


class Both:
    """The C encoder and the twin over one section."""

    def __init__(self, metadata, pre=None):
        self.metadata = metadata
        packed = pack_vocab(metadata, pre)
        self.c = encoder(packed)
        self.twin = Twin(packed)

    def encode(self, text, **options):
        ids = self.c.encode(text, **{"affix": False, **options})
        assert ids == self.twin.encode(text, **options)
        return ids

    def decode_bytes(self, ids, **options):
        data = self.c.decode_bytes(ids, **{"start": True, **options})
        assert data == self.twin.decode_bytes(ids, **options)
        return data
