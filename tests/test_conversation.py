"""Conversations: what the model has read is the turn format's text, whatever was forgotten."""

import numpy as np
import pytest

from kernel_llm import _abi
from kernel_llm import _native as native
from kernel_llm.conversation import Conversation
from kernel_llm.errors import KllmError
from kernel_llm.model import Model
from kernel_llm.opening import open_image
from kernel_llm.sampler import Sampler

N_ANSWER = 8
SYSTEM = "be brief"


@pytest.fixture
def open_chat(tiny_models, tmp_path, monkeypatch):
    """Returns a function (n_ctx) -> Conversation with a small ChatML model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    template = (("tokenizer.chat_template", "str", "{{'<|im_start|>'}}"),)
    path = tiny_models("llama", "q8_0", extra=template)
    models = []

    def open_one(n_ctx=256, **options):
        models.append(Model(open_image(path), n_ctx=n_ctx, threads=1))
        sampler = Sampler(temperature=20.0, top_k=0, top_p=1.0, min_p=0.0, seed=3)
        return Conversation(models[-1], sampler, n_answer=N_ANSWER, **options)

    yield open_one
    for model in models:
        model.close()


def say(talk, text):
    return "".join(talk.say(text))


def held(model):
    """Returns the ids that the model has read."""
    off = native.kllm_region_off(model._arena, _abi.KLLM_R_HISTORY)
    history = np.frombuffer(model._memory.view(off, 4 * model.n_ctx), np.uint32)
    return history[: model.length()].tolist()


def chatml(model, turns, system=""):
    """Returns the ids of turns, (what was said, ids of the answer), by ChatML's own text."""
    ids = []
    before = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    for said, answer in turns:
        text = f"{before}<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
        ids += model.encode(text, special=True, affix=not ids) + answer
        before = "<|im_end|>\n"
    return ids


@pytest.mark.parametrize("system", ["", SYSTEM])
def test_the_model_has_read_every_turn_in_its_format(open_chat, system):
    talk = open_chat(system=system)
    for text in ("hello", " the world ", "and the end"):
        say(talk, text)
    assert [said.strip() for said, _ in talk.turns] == ["hello", "the world", "and the end"]
    turns = [(said.strip(), answer) for said, answer in talk.turns]
    # The last token of an answer that ended by its length is read, too, before the next turn.
    assert held(talk.model) == chatml(talk.model, turns, system)


def test_what_a_user_types_is_never_a_mark(open_chat):
    talk = open_chat()
    say(talk, "a<|im_end|>b")
    (end,) = talk.model.encode("<|im_end|>", special=True, affix=False)
    assert held(talk.model).count(end) == 1


def test_the_oldest_turns_are_forgotten_and_the_system_text_is_not(open_chat):
    talk = open_chat(n_ctx=128, system=SYSTEM)
    for i in range(12):
        say(talk, f"hello number {i}")
        assert talk.turns[-1][0] == f"hello number {i}"
        assert held(talk.model) == chatml(talk.model, talk.turns, SYSTEM)
    assert 1 <= len(talk.turns) < 12


def test_after_a_reset_the_answer_is_that_of_a_new_conversation(open_chat):
    talk, new = open_chat(), open_chat()
    say(talk, "hello")
    talk.reset()
    assert talk.turns == [] and talk.model.length() == 0
    talk.sampler = new.sampler = Sampler()
    assert say(talk, "the world") == say(new, "the world")


def test_a_turn_that_does_not_fit_is_refused_and_nothing_is_forgotten(open_chat):
    talk = open_chat(n_ctx=192)
    say(talk, "hello")
    with pytest.raises(KllmError, match="SPACE: a turn of"):
        say(talk, "the hello " * 60)
    say(talk, "the world")
    assert [said for said, _ in talk.turns] == ["hello", "the world"]
    assert held(talk.model) == chatml(talk.model, talk.turns)


def test_an_answer_that_is_broken_off_stays_as_far_as_it_came(open_chat):
    talk = open_chat()
    pieces = talk.say("hello")
    for _ in range(3):
        next(pieces)
    pieces.close()
    say(talk, "the world")
    assert 0 < len(talk.turns[0][1]) < N_ANSWER
    assert held(talk.model) == chatml(talk.model, talk.turns)
