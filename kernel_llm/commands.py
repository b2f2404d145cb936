"""What each command of the command line does. Each takes the parsed arguments."""

import contextlib
import json
import math
import sys
import time

from kernel_llm import _abi, opening
from kernel_llm import _native as native
from kernel_llm import chat as turns
from kernel_llm import image as images
from kernel_llm.errors import KllmError
from kernel_llm.model import Model
from kernel_llm.progress import show_progress
from kernel_llm.pull import resolve
from kernel_llm.sampler import Sampler
from kernel_llm.stop_text import StopText
from kernel_llm.summary import summary
from kernel_llm.terminal import printable, standard_input, whole_text

CHAT_HELP = "/reset forgets what was said, /quit or Ctrl-D ends, Ctrl-C stops an answer"


def _open(args, path, **options):
    if native.ENGINE == "python":
        print("kernel_llm: no C core: the Python engine computes, slowly", file=sys.stderr)
    image = opening.open_image(path, show_progress)
    return Model(image, n_ctx=args.ctx, threads=args.threads, kv=args.kv, n_batch=args.batch,
                 **options)  # fmt: skip


def _read_text(args):
    """Returns the text of -p, -f or standard input, as bytes."""
    if args.prompt is not None and args.file is not None:
        raise KllmError(_abi.KLLM_ERR_RANGE, "give either -p or -f, not both")
    if args.file is not None:
        with open(args.file, "rb") as file:
            return whole_text(file.read, args.file)
    if args.prompt is None or args.prompt == "-":
        return whole_text(standard_input().read)
    return args.prompt.encode("utf-8", "surrogateescape")


def _sampler(args):
    return Sampler(args.temperature, args.top_k, args.top_p, args.min_p, args.repeat_penalty,
                   args.repeat_last_n, args.seed)  # fmt: skip


def _print_json(value):
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, ensure_ascii=not is_utf8))


def pull(args):
    """Fetches a model by name and prints its path."""
    from kernel_llm.pull import pull

    print(pull(args.name, verify=args.verify))


def inspect(args):
    """Prints metadata and tensors of a GGUF file or an image."""
    path = resolve(args.model)
    fields, tensors = summary(path, args.verify)
    if args.json:
        names = ("name", "type", "rows", "cols", "offset", "bytes")
        tensors = [dict(zip(names, row, strict=True)) for row in tensors]
        _print_json({"path": str(path), "fields": fields, "tensors": tensors})
        return
    for name, value in fields.items():
        print(f"{printable(name):40} {printable(str(value))}")
    print(f"\n{'tensor':32} {'type':6} {'rows':>8} {'cols':>8} {'offset':>12} {'bytes':>12}")
    for name, dtype, rows, cols, off, n_bytes in tensors:
        print(f"{printable(name):32} {dtype:6} {rows:8} {cols:8} {off:12} {n_bytes:12}")


def plan(args):
    """Prints every region of the arena a model needs; loads no weights."""
    path = resolve(args.model)
    plan, n_image = opening.plan_of(path, args.ctx, args.batch, args.seqs, args.threads, args.kv)
    rows = list(plan.rows())
    if args.json:
        _print_json({
            "image_bytes": n_image,
            "arena_bytes": plan.n_bytes,
            "regions": [{"name": n, "offset": o, "bytes": b, "holds": h} for n, o, b, h in rows],
        })  # fmt: skip
        return
    print(f"{'region':10} {'offset':>12} {'bytes':>12}  holds")
    for name, off, n_bytes, holds in rows:
        print(f"{name:10} {off:12} {n_bytes:12}  {holds}")
    print(f"{'arena':10} {'':12} {plan.n_bytes:12}  {plan.n_bytes / 2**20:.1f} MiB")
    print(f"{'image':10} {'':12} {n_image:12}  {n_image / 2**20:.1f} MiB, mapped from the file")


def pack(args):
    """Turns a GGUF file into an image."""
    from pathlib import Path

    from kernel_llm.pack import pack

    path = resolve(args.model)
    if images.is_image(path):
        raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, f"{path} is an image already")
    output = Path(path.with_suffix(".kllm").name if args.output is None else args.output)
    pack(path, output, show_progress, args.pre)
    print(output)


def quantize(args):
    """Writes a GGUF file with another weight type."""
    from kernel_llm.gguf.quantize import quantize

    with show_progress("quantizing") as progress:
        quantize(resolve(args.model), args.output, args.type, progress)
    print(args.output)


def _prompt_ids(model, args, text):
    kind = model.image.chat
    if args.chat is False or (args.chat is None and kind == _abi.KLLM_CHAT_NONE):
        if args.system:
            text = "--system is for a turn of a chat model; put it into the prompt"
            raise KllmError(_abi.KLLM_ERR_UNSUPPORTED, text)
        return model.encode(text)
    if kind == _abi.KLLM_CHAT_NONE:
        raise KllmError(
            _abi.KLLM_ERR_UNSUPPORTED,
            "the model has no turn format that is known here; leave out --chat",
        )
    return turns.encode_turn(model.encoder, kind, text.decode("utf-8", "replace"), args.system)


def _prefill(model, ids):
    """Appends a prompt, with a bar where it takes several passes; returns the seconds it took."""
    bar = contextlib.nullcontext()
    if len(ids) > model.n_batch:
        bar = show_progress("tokens of the prompt", in_bytes=False)
    with bar as progress:
        started = time.perf_counter()
        model.prefill(ids, progress=progress)
        return time.perf_counter() - started


def _print_text(model, args, sampler):
    """Prints the text that continues a prompt as it comes, or keeps it; returns (text, ids)."""
    pieces, ids = [], []
    try:
        for piece in model.stream(args.tokens, sampler, ids=ids, stop=args.stop):
            pieces.append(piece)
            if not args.json:
                print(piece, end="", flush=True)
    finally:
        if not args.json:
            print()
    return "".join(pieces), ids


def generate(args):
    """Continues a prompt and prints the text as it comes."""
    path, sampler = resolve(args.model), _sampler(args)
    StopText(args.stop)  # an empty one is told before the prompt is asked for, as the others are
    prompt = _read_text(args)
    started = time.perf_counter()
    with _open(args, path) as model:
        open_seconds = time.perf_counter() - started
        prompt_ids = _prompt_ids(model, args, prompt)
        if not prompt_ids:
            raise KllmError(_abi.KLLM_ERR_RANGE, f"{args.file or 'the prompt'} is empty")
        prompt_seconds = _prefill(model, prompt_ids)
        started = time.perf_counter()
        text, ids = _print_text(model, args, sampler)
        seconds = time.perf_counter() - started
        told = {
            "text": text,
            "ids": ids,
            "prompt_ids": prompt_ids,
            "stop": model.stop_reason,
            "threads": model.threads,
            "open_seconds": open_seconds,
            "prompt_seconds": prompt_seconds,
            "generate_seconds": seconds,
            "prompt_tokens_per_second": len(prompt_ids) / prompt_seconds,
            "tokens_per_second": len(ids) / seconds,
        }
        if args.json:
            _print_json(told)
        else:
            _tell_end(told, model.n_ctx)


def _tell_end(told, n_ctx):
    """Tells on standard error what a person wants to know of a generation that has ended."""
    if told["stop"] == "context":
        print(f"kernel_llm: the context of {n_ctx} tokens is full; --ctx sets it", file=sys.stderr)
    if sys.stderr.isatty():
        print(f"prompt: {len(told['prompt_ids'])} tokens, "
              f"{told['prompt_tokens_per_second']:.3g} a second; text: {len(told['ids'])} tokens, "
              f"{told['tokens_per_second']:.3g} a second", file=sys.stderr)  # fmt: skip


def chat(args):
    """Holds a conversation in the terminal until end of input."""
    from kernel_llm.conversation import Conversation

    with _open(args, resolve(args.model)) as model:
        _converse(Conversation(model, _sampler(args), args.system, args.tokens))


def _lines():
    """Yields what is typed or piped, line by line, until it ends."""
    if not sys.stdin.isatty():
        while line := whole_text(sys.stdin.readline):
            yield line
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (gives input() a line editor)
    print(CHAT_HELP, file=sys.stderr)
    while True:
        try:
            line = input("> ")
        except EOFError:
            print()
            return
        yield line


def _converse(talk):
    """Takes turns from standard input and prints the answers."""
    for user in map(str.strip, _lines()):
        if user == "/quit":
            return
        if user == "/help":
            print(CHAT_HELP, file=sys.stderr)
        elif user == "/reset":
            talk.reset()
        elif user:
            _print_answer(talk, user)


def _print_answer(talk, user):
    try:
        for piece in talk.say(user):
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pass
    except KllmError as error:
        print(error, file=sys.stderr)
    print()


def tokenize(args):
    """Prints the token ids of a text."""
    path = resolve(args.model)
    text = _read_text(args)
    image = opening.open_image(path, show_progress)
    encoder = opening.encoder_of(image)
    ids = encoder.encode(text, special=args.special)
    if args.json:
        pieces = [encoder.decode_bytes([i], special=True).decode("utf-8", "replace") for i in ids]
        _print_json({"ids": ids, "pieces": pieces})
    else:
        print(*ids)
    image.close()


def _perplexity(mean_nll):
    return math.exp(mean_nll) if mean_nll < 700 else math.inf


def score(args):
    """Prints how well a model predicts a text, each token from those before it."""
    path = resolve(args.model)
    with open(args.file, "rb") as file:
        text = whole_text(file.read, args.file)
    with _open(args, path, n_logits=args.batch) as model:
        ids = model.encode(text)[: args.tokens]
        if len(ids) < 2:
            raise KllmError(_abi.KLLM_ERR_RANGE, f"{args.file}: fewer than 2 tokens to score")
        if len(ids) - 1 > model.n_ctx:
            text = f"{args.file}: {len(ids)} tokens do not fit a context of {model.n_ctx}"
            raise KllmError(_abi.KLLM_ERR_SPACE, f"{text}; --tokens takes the first")
        with show_progress("tokens scored", in_bytes=False) as progress:
            nll, top1 = model.score_ids(ids, progress=progress)
    mean = sum(nll) / len(nll)
    if args.json:
        _print_json({"ids": ids, "nll": nll, "top1": top1, "mean_nll": mean})
    else:
        print(f"{len(nll)} tokens, mean nll {mean:.4f}, perplexity {_perplexity(mean):.2f}")
