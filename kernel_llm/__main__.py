"""The command line: `python -m kernel_llm COMMAND`."""

import argparse
import sys

from kernel_llm import __version__
from kernel_llm.terminal import TEXT_BYTES, Parser, positive, run_command

_MODEL = "a .kllm image, a GGUF file or a pulled name"
_AT_MOST = f"{TEXT_BYTES >> 20} MiB at most"


def _add_model(parser):
    parser.add_argument("model", nargs="?", help=f"{_MODEL} (default: the built-in model)")


def _add_engine(parser):
    group = parser.add_argument_group("engine")
    group.add_argument("--ctx", type=positive, metavar="N", help="positions (default: the "
                       "model's, at most 2048)")  # fmt: skip
    group.add_argument("--threads", type=positive, metavar="N", help="default: all cores")
    group.add_argument("--batch", type=positive, metavar="N", default=64,
                       help="tokens of a prompt in one pass (default 64)")  # fmt: skip
    group.add_argument("--kv", choices=["f32", "f16", "q8_0"], default="f16",
                       help="how keys and values are kept (default f16)")  # fmt: skip


def _add_sampling(parser, temperature):
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", "--temp", type=float, default=temperature, metavar="T",
                       help=f"0 is the most likely token (default {temperature:g})")  # fmt: skip
    group.add_argument("--top-k", type=int, default=40, metavar="K",
                       help="only the K most likely (default 40; 0: all)")  # fmt: skip
    group.add_argument("--top-p", type=float, default=0.95, metavar="P",
                       help="the first that make up P (default 0.95; 1: all)")  # fmt: skip
    group.add_argument("--min-p", type=float, default=0.05, metavar="P",
                       help="P times as likely as the first, at least (default 0.05)")  # fmt: skip
    group.add_argument("--repeat-penalty", type=float, default=1.0, metavar="R",
                       help="above 1: less of what was said lately (default 1: off)")  # fmt: skip
    group.add_argument("--repeat-last-n", type=int, default=64, metavar="N",
                       help="how far back that looks, in tokens (default 64)")  # fmt: skip
    group.add_argument("--seed", type=int, default=0, metavar="S",
                       help="same seed, same text, on every machine (default 0)")  # fmt: skip


def build_parser():
    """Returns the parser of every command."""
    parser = Parser(prog="kernel_llm", description="a language-model runtime "
                    "that allocates nothing once it is open")  # fmt: skip
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, what):
        return verbs.add_parser(name, help=what, description=what)

    _add_file_verbs(add)
    _add_text_verbs(add)
    return parser


def _add_file_verbs(add):
    p = add("pull", "fetch a model by name and print its path")
    p.add_argument("name", help="of a model, such as smollm2-135m")
    p.add_argument("--verify", action="store_true", help="hash a model that is there already")

    p = add("inspect", "metadata and tensors of a GGUF file or an image")
    _add_model(p)
    p.add_argument("--json", action="store_true", help="for a program to read")
    p.add_argument("--verify", action="store_true", help="of an image: check its weights too")

    p = add("plan", "the memory a model needs, region by region")
    _add_model(p)
    _add_engine(p)
    p.add_argument("--seqs", type=positive, default=1, metavar="N", help="sequences at once")
    p.add_argument("--json", action="store_true", help="for a program to read")

    p = add("pack", "turn a GGUF file into an image")
    p.add_argument("model", nargs="?", metavar="GGUF", help="default: the built-in model")
    p.add_argument("-o", "--output", metavar="FILE", help="default: its name, in this folder")
    p.add_argument("--pre", metavar="NAME", help="pre-tokenizer, instead of the file's own")

    p = add("quantize", "write a GGUF file with another weight type")
    p.add_argument("model", metavar="GGUF")
    p.add_argument("type", choices=["q8_0", "q4_0", "f16", "f32"])
    p.add_argument("-o", "--output", required=True, metavar="FILE")


def _add_text_verbs(add):
    p = add("generate", "continue a prompt")
    _add_model(p)
    p.add_argument("-p", "--prompt", help="the prompt; - or nothing reads standard input")
    p.add_argument("-f", "--file", help=f"read the prompt from a file, {_AT_MOST}")
    p.add_argument("-n", "--tokens", type=positive, default=256, metavar="N",
                   help="at most so many (default 256)")  # fmt: skip
    p.add_argument(
        "--chat",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="put the prompt as a user's turn (default: if the model is a chat model)",
    )
    p.add_argument("--system", default="", metavar="TEXT", help="system text, with --chat")
    p.add_argument("--stop", action="append", default=[], metavar="TEXT",
                   help="end before this text; may be given again")  # fmt: skip
    p.add_argument("--json", action="store_true", help="one object with text, ids and timings")
    _add_sampling(p, 0.0)
    _add_engine(p)

    p = add("chat", "a conversation in the terminal")
    p.add_argument("model", help=f"{_MODEL}, of a chat model such as smollm2-135m")
    p.add_argument("--system", default="", metavar="TEXT", help="what the model is told first")
    p.add_argument("-n", "--tokens", type=positive, default=512, metavar="N",
                   help="longest answer (default 512)")  # fmt: skip
    _add_sampling(p, 0.7)
    _add_engine(p)

    p = add("tokenize", "text to token ids")
    _add_model(p)
    p.add_argument("-p", "--prompt", help="the text; nothing reads standard input")
    p.add_argument("-f", "--file", help=f"read the text from a file, {_AT_MOST}")
    p.add_argument("--special", action="store_true", help="parse control tokens in the text")
    p.add_argument("--json", action="store_true", help="for a program to read")

    p = add("score", "how well a model predicts a text, token by token")
    p.add_argument("model", help=_MODEL)
    p.add_argument("file", help=f"the text, {_AT_MOST}")
    p.add_argument("--tokens", type=positive, metavar="N", help="score the first N tokens only")
    p.add_argument("--json", action="store_true", help="for a program to read")
    _add_engine(p)


def main(argv=None):
    """Runs a command; returns the exit status: 0, 2 for an error, 130 after an interrupt."""
    return run_command("kernel_llm", lambda: _run(build_parser().parse_args(argv)))


def _run(args):
    from kernel_llm import commands

    return getattr(commands, args.command)(args)


if __name__ == "__main__":
    sys.exit(main())
