"""Text to token ids and back: the readable twin of the C tokenizer, over the same tables."""

from tokenizer.bpe import Tokenizer
from tokenizer.stream import StreamDecoder
from tokenizer.vocab import Vocab

__all__ = ["StreamDecoder", "Tokenizer", "Vocab"]
