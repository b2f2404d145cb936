"""
A language-model runtime that allocates nothing once it is open.

    import kernel_llm

    with kernel_llm.open("smollm2-135m") as model:
        for piece in model.generate("The sky is blue because", n_token=32):
            print(piece, end="")
"""

from kernel_llm._port import IS_MICROPYTHON
from kernel_llm.errors import KllmError

__version__ = "0.1.0"
__all__ = ["Conversation", "KllmError", "Model", "Sampler", "Tokenizer", "open"]
_HOMES = {
    "Conversation": "conversation",
    "Model": "model",
    "Sampler": "sampler",
    "Tokenizer": "tokenizer.tokenizer",
}

TYPE_CHECKING = False  # what type checkers and editors take for true, without an import
if TYPE_CHECKING:
    from kernel_llm.conversation import Conversation
    from kernel_llm.model import Model
    from kernel_llm.sampler import Sampler
    from kernel_llm.tokenizer.tokenizer import Tokenizer

if not IS_MICROPYTHON:  # where a module's __getattr__ hides the modules in a package
    from importlib import import_module

    def __getattr__(name):
        """Brings in what is offered from other modules when it is first asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module 'kernel_llm' has no attribute {name!r}")
        return getattr(import_module("kernel_llm." + _HOMES[name]), name)

    def __dir__():
        return sorted(set(globals()).union(__all__))


def open(path: str | None = None, **options) -> "Model":
    """
    Opens a model and returns it, a context manager.

    path: a packed image (.kllm), a GGUF file (packed into the cache when first opened), or the
    name of a pulled model; the built-in model by default. MicroPython opens packed images only,
    and without a path says how to pack one.
    options, all by name:
        n_ctx: positions of each sequence; the model's own, at most 2048, by default.
        threads: how many compute, 1 .. 64; all cores by default.
        kv: how keys and values are kept, "f16" (default), "f32" or "q8_0".
        n_batch: most tokens of a prompt in one pass, 1 .. 4096; 64 by default.
        n_seq: sequences held at once, 1 .. 256; 1 by default.
        n_logits: rows of logits kept, where every token's are wanted.
        cpu: mask of the instruction sets that may be used; all by default.
    Returns a Model: generate, encode, decode, prefill, eval, step, sample, score, reset.
    Raises KllmError saying what is wrong with the file or an option and where, or OSError.
    """
    if IS_MICROPYTHON:
        from kernel_llm.image import open_packed
        from kernel_llm.model import Model

        return Model(open_packed(path), **options)
    from kernel_llm.opening import open_model

    return open_model(path, **options)
