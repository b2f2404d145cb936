"""Texts at which a generation ends."""

from kernel_llm import _abi
from kernel_llm.errors import KllmError


class StopText:
    """
    Lets text pass, piece by piece, until one of some texts has come.

    texts: a str or several, none of them empty; none at all lets everything pass.
    What may be the beginning of one is held back, so the cut into pieces does not matter.

    `found` says that one has come: the one that was complete first, of several the longest.
    Raises KllmError(RANGE) for an empty text.
    """

    def __init__(self, texts):
        self._texts = (texts,) if isinstance(texts, str) else tuple(texts)
        if "" in self._texts:
            raise KllmError(_abi.KLLM_ERR_RANGE, "a text to stop at is empty")
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """Returns the text that is certain by now: where one was found, what stands before it."""
        held = self._held + piece
        end, start = len(held) + 1, 0
        for text in self._texts:
            at = held.find(text)
            if at >= 0 and (at + len(text), at) < (end, start):
                end, start = at + len(text), at
        if end <= len(held):
            self.found = True
            self._held = ""
            return held[:start]
        n_held = self._n_beginning(held)
        self._held = held[len(held) - n_held :]
        return held[: len(held) - n_held]

    def _n_beginning(self, held):
        """Returns how many characters at the end may be the beginning of a text."""
        for n in range(len(held), 0, -1):
            for text in self._texts:
                if n < len(text) and held.endswith(text[:n]):
                    return n
        return 0

    def finish(self) -> str:
        """Returns what was held back, at the end of a text."""
        return self._held
