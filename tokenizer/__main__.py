"""
The tokenizer for files and pipes: `python -m tokenizer encode VOCAB [FILE]`. CPython only.

VOCAB is a GGUF file, a packed image, a tokenizer.json or a tiktoken file.
"""

import contextlib
import json
import os
import re
import sys

from kernel_llm._abi import KLLM_ERR_FORMAT
from kernel_llm.errors import KllmError, naming
from kernel_llm.files import check_apart
from kernel_llm.terminal import Parser, positive, run_command, standard_input

_CHUNK_BYTES = 1 << 20
_LONG_BYTES = 16 << 20  # a bar is worth it
_ID = re.compile(rb"-?[0-9]{1,20}")
_ID_BYTES = 21


def build_parser():
    """Returns the parser of every command."""
    parser = Parser(prog="tokenizer", description="text to token ids and back")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, what):
        p = verbs.add_parser(name, help=what)
        p.add_argument("vocab", metavar="VOCAB", help="a GGUF file, an image, a tokenizer.json or "
                       "a tiktoken file")  # fmt: skip
        p.add_argument("--pre", metavar="NAME", help="pre-tokenizer, instead of the file's own")
        return p

    def add_coder(name, what):
        p = add(name, what)
        p.add_argument("file", metavar="FILE", nargs="?", default="-",
                       help="default: standard input")  # fmt: skip
        p.add_argument("--special", action="store_true", help="control tokens count as such")
        return p

    for name, what in (("encode", "write the ids of a text, one a line"),
                       ("count", "write how many tokens a text has")):  # fmt: skip
        p = add_coder(name, what)
        p.add_argument("--affix", action="store_true", help="add bos and eos where the vocabulary "
                       "asks for them")  # fmt: skip
        p.add_argument("--json", action="store_true", help="one object with bytes, tokens and ids")
    add_coder("decode", "write the text of ids, which stand between white space or commas")
    p = add("convert", "write the vocabulary as tokenizer.json")
    p.add_argument("-o", "--output", required=True, metavar="FILE")
    p = verbs.add_parser("train", help="make a byte-level BPE vocabulary from text, with the "
                         "tokenizers library")  # fmt: skip
    p.add_argument("files", nargs="+", metavar="FILE")
    p.add_argument("-o", "--output", required=True, metavar="FILE", help="a tokenizer.json")
    p.add_argument(
        "--size", type=positive, default=8192, metavar="N", help="tokens (default 8192)"
    )
    p.add_argument("--pre", default="gpt-2", metavar="NAME", help="default: gpt-2")
    p.add_argument("--token", action="append", default=[], metavar="TEXT", dest="specials",
                   help="a control token; may be given again")  # fmt: skip
    return parser


@contextlib.contextmanager
def _opened(path):
    """Gives (file open for reading bytes, its size or None)."""
    if path == "-":
        yield standard_input(), None
        return
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def _chunks(path, title):
    """Yields the bytes of a file or pipe in pieces, with a bar on long ones."""
    from kernel_llm.opening import show_progress

    with _opened(path) as (file, n_bytes):
        show = show_progress(title) if (n_bytes or 0) >= _LONG_BYTES else contextlib.nullcontext()
        with show as progress:
            done = 0
            while chunk := file.read1(_CHUNK_BYTES):
                yield chunk
                done += len(chunk)
                if progress:
                    progress(done, n_bytes)


def _tokenizer(args):
    from kernel_llm import Tokenizer

    return Tokenizer.from_file(args.vocab, pre=args.pre)


def encode(args):
    """Writes the ids of a text, as they become certain."""
    _encode(args, keep_ids=True)


def count(args):
    """Writes the number of tokens of a text."""
    _encode(args, keep_ids=False)


def _encode(args, keep_ids):
    encoder = _tokenizer(args).stream_encoder(args.special, args.affix)
    n_bytes = n_token = 0
    kept = []

    def take(ids):
        nonlocal n_token
        n_token += len(ids)
        if keep_ids and args.json:
            kept.extend(ids)
        elif keep_ids and ids:
            sys.stdout.write("\n".join(map(str, ids)) + "\n")

    for chunk in _chunks(args.file, args.command):
        n_bytes += len(chunk)
        take(encoder.push(chunk))
    take(encoder.finish())
    if args.json:
        found = {"bytes": n_bytes, "tokens": n_token, **({"ids": kept} if keep_ids else {})}
        print(json.dumps(found))
    elif not keep_ids:
        print(n_token)


def _ids(path):
    """Yields lists of the ids in a file or pipe: numbers between white space, commas, brackets."""
    rest = b""
    for chunk in _chunks(path, "decode"):
        chunk = rest + chunk.translate(bytes.maketrans(b",[]\t\r\n", b"      "))
        whole, _space, rest = chunk.rpartition(b" ")
        yield _numbers(whole)
        if len(rest) > _ID_BYTES:  # a word without an end is not waited for
            raise _no_id(rest)
    yield _numbers(rest)


def _numbers(text):
    words = text.split()
    try:
        return [int(word) for word in words]
    except ValueError:
        raise _no_id(next(word for word in words if not _ID.fullmatch(word))) from None


def _no_id(word):
    shown = ascii(word[:_ID_BYTES]).removeprefix("b") + "…" * (len(word) > _ID_BYTES)
    return KllmError(KLLM_ERR_FORMAT, f"{shown} is no token id")


def decode(args):
    """Writes the bytes of ids."""
    tokenizer = _tokenizer(args)
    start = True
    with naming("standard input" if args.file == "-" else args.file):
        for ids in _ids(args.file):
            if ids:
                sys.stdout.buffer.write(tokenizer.decode_bytes(ids, args.special, start))
                start = tokenizer.is_special(ids[-1])
    sys.stdout.buffer.flush()


def convert(args):
    """Writes a vocabulary as tokenizer.json."""
    tokenizer = _tokenizer(args)
    check_apart(args.output, args.vocab)
    tokenizer.save(args.output)


def train(args):
    """Makes a vocabulary from text files."""
    from kernel_llm.tokenizer.train import train

    train(args.files, args.output, args.size, args.pre, args.specials)


def main(argv=None):
    """Runs a command; returns the exit status: 0, 2 for an error, 130 after an interrupt."""

    def run():
        args = build_parser().parse_args(argv)
        globals()[args.command](args)

    return run_command("tokenizer", run)


if __name__ == "__main__":
    sys.exit(main())
