"""A conversation whose history stays within the context."""

from kernel_llm import _abi, chat
from kernel_llm.errors import KllmError
from kernel_llm.model import Model
from kernel_llm.sampler import Sampler


class Conversation:
    """
    Turns of a user and a model in one sequence.

    model: an open chat model. sampler: its Sampler. n_answer: longest answer in tokens.
    system: system text, empty for the model's own.

    When a turn no longer fits the context, the oldest turns are forgotten and the rest is read
    again: the conversation then starts with a later turn, but with the same system text.
    Raises KllmError(UNSUPPORTED) for a model without a known turn format.
    """

    def __init__(self, model: Model, sampler: Sampler, system: str = "", n_answer: int = 512):
        self.kind = model.image.chat
        if self.kind == _abi.KLLM_CHAT_NONE:
            raise KllmError(
                _abi.KLLM_ERR_UNSUPPORTED,
                "the model has no turn format that is known here; use `generate`",
            )
        self.model = model
        self.sampler = sampler
        self.system = system
        self.n_answer = min(n_answer, max(1, model.n_ctx // 2))
        self.turns = []  # (what the user said, ids of the answer)

    def _ids(self, turns, user):
        """Returns the ids of a whole conversation that ends with what the user says now."""
        encoder = self.model.encoder
        ids = []
        for said, answer in turns:
            ids += chat.encode_turn(encoder, self.kind, said, self.system, not ids) + answer
        return ids + chat.encode_turn(encoder, self.kind, user, self.system, not ids)

    def reset(self) -> None:
        """Forgets what was said."""
        self.turns.clear()
        self.model.reset()

    def say(self, user: str):
        """
        Yields the text of the model's answer to what the user says.

        Raises KllmError(SPACE) if this turn alone does not fit the context; all stays as it was.
        """
        model = self.model
        turns = list(self.turns)
        ids = self._ids(turns, user)
        while turns and len(ids) + self.n_answer > model.n_ctx:
            del turns[0]
            ids = self._ids(turns, user)
        if len(ids) >= model.n_ctx:
            raise KllmError(_abi.KLLM_ERR_SPACE, "a turn of %d tokens does not fit a context of %d"
                            % (len(ids), model.n_ctx))  # fmt: skip
        if len(turns) < len(self.turns):
            self.turns = turns
            model.reset()
        answer = []
        self.turns.append((user, answer))
        try:
            model.prefill(ids[model.length() :])
            yield from model.stream(self.n_answer, self.sampler, ids=answer)
        finally:
            # An interrupt may fall between sampling an id and appending it.
            del answer[max(0, model.length() - len(ids)) :]
