"""The command line as a user types it: what it prints, and what it says when things go wrong."""

import contextlib
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib

import pytest

import kernel_llm
from conftest import ROOT
from kernel_llm import _abi
from kernel_llm.__main__ import main
from kernel_llm.opening import packed_path
from tokenizer.__main__ import main as tokenizer_main


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def run(*words, stdin=b"", status=0, **options):
    """Runs a command; returns its standard output, or the one line of its error."""
    found = subprocess.run(
        [sys.executable, "-m", "kernel_llm", *map(str, words)],
        cwd=ROOT, input=stdin, capture_output=True, timeout=120, **options,
    )  # fmt: skip
    error = found.stderr.decode()
    assert found.returncode == status, error
    if status == 2:
        assert error.startswith("kernel_llm: ") and error.count("\n") == 1, error
        assert found.stdout == b""
        return error
    assert "Traceback" not in error
    return found.stdout.decode()


def at_a_terminal(*words):
    """Runs a command whose standard error is a terminal; returns what that shows."""
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kernel_llm", *map(str, words)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=inside, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(inside)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert process.wait(60) == 0
    return shown.decode()


@pytest.fixture(scope="module")
def model(tiny_models):
    return tiny_models("llama", "q8_0")


def test_generate_prints_text_and_a_seed_repeats_it(model):
    words = ["generate", model, "-p", "Hello", "-n", "12", "--temp", "20", "--top-k", "0",
             "--top-p", "1", "--min-p", "0", "--seed", "3"]  # fmt: skip
    text = run(*words)
    assert text.endswith("\n") and text == run(*words) == run(*words, "--threads", "1")
    assert text != run(*words[:-1], "4")


def test_generate_ends_before_a_text(model):
    words = ["generate", model, "-p", "the hello", "-n", "12", "--temp", "20", "--top-k", "0",
             "--top-p", "1", "--min-p", "0", "--json"]  # fmt: skip
    text = json.loads(run(*words))["text"]
    found = json.loads(run(*words, "--stop", "no such", "--stop", text[6:8]))
    assert found["text"] == text.partition(text[6:8])[0] != text
    assert found["stop"] == "stop"


def test_generate_takes_the_prompt_from_anywhere(model, tmp_path):
    (tmp_path / "prompt.txt").write_text("the hello")
    expected = json.loads(run("generate", model, "-p", "the hello", "-n", "4", "--json"))
    for words, stdin in (
        (["-f", tmp_path / "prompt.txt"], b""),
        ([], b"the hello"),
        (["-p", "-"], b"the hello"),
    ):
        found = json.loads(run("generate", model, *words, "-n", "4", "--json", stdin=stdin))
        assert found["ids"] == expected["ids"]
        assert found["text"] == expected["text"]


def test_generate_json_tells_ids_stop_and_timings(model):
    found = json.loads(run("generate", model, "-p", "the hello", "-n", "4", "--json"))
    assert found["stop"] in ("length", "stop")
    assert len(found["ids"]) <= 4 and found["prompt_ids"]
    assert found["prompt_seconds"] > 0 and found["tokens_per_second"] >= 0


def test_plan_sums_up_and_needs_no_weights(model, tmp_path):
    found = json.loads(run("plan", model, "--ctx", "64", "--kv", "q8_0", "--json"))
    regions = found["regions"]
    assert found["arena_bytes"] == regions[-1]["offset"] + -(-regions[-1]["bytes"] // 64) * 64
    assert f"{found['arena_bytes']}" in run("plan", model, "--ctx", "64", "--kv", "q8_0")


def test_inspect_shows_a_file_and_an_image(model, tmp_path):
    image = tmp_path / "m.kllm"
    assert run("pack", model, "-o", image).strip() == str(image)
    for path in (model, image):
        text = run("inspect", path)
        assert "blk.1.ffn_down" in text
        assert json.loads(run("inspect", path, "--json"))["tensors"]
    assert run("generate", image, "-p", "a", "-n", "3") == run("generate", model, "-p", "a",
                                                               "-n", "3")  # fmt: skip


def test_quantize_writes_a_file_that_runs(model, tmp_path):
    for dtype in ("f32", "f16", "q8_0", "q4_0"):
        output = tmp_path / f"{dtype}.gguf"
        run("quantize", model, dtype, "-o", output)
        assert run("generate", output, "-p", "a", "-n", "3")


def test_tokenize_gives_ids_and_pieces(model):
    found = json.loads(run("tokenize", model, "-p", "hello <|im_end|>", "--json"))
    assert "".join(found["pieces"]) == "hello <|im_end|>" and len(found["ids"]) > 4
    ids = run("tokenize", model, "--special", "-p", "<|im_end|>").split()
    assert len(ids) == 1


def test_score_is_the_same_for_any_thread_count(model, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the hello and the other hello of the end" * 3)
    one = run("score", model, text, "--tokens", "50", "--threads", "1", "--json")
    assert one == run("score", model, text, "--tokens", "50", "--threads", "2", "--json")
    found = json.loads(one)
    assert len(found["ids"]) == 50 and found["mean_nll"] == sum(found["nll"]) / 49
    assert "perplexity" in run("score", model, text)


def test_a_person_is_told_the_speed(model):
    shown = at_a_terminal("generate", model, "-p", "the hello", "-n", "4")
    found = json.loads(run("generate", model, "-p", "the hello", "-n", "4", "--json"))
    counts = [int(n) for n in re.findall(r"(\d+) tokens, [\d.e+]+ a second", shown)]
    assert counts == [len(found["prompt_ids"]), len(found["ids"])]
    assert at_a_terminal("generate", model, "-p", "the hello", "-n", "4", "--json") == ""


@pytest.fixture(scope="module")
def chat_model(tiny_models):
    template = "{{'<|im_start|>'}}"
    return tiny_models("llama", "q8_0", extra=(("tokenizer.chat_template", "str", template),))


def test_chat_keeps_the_conversation_within_the_context(chat_model):
    turns = "\n".join(f"hello number {i}" for i in range(12)).encode() + b"\n/reset\nhello\n"
    text = run("chat", chat_model, "--ctx", "200", "-n", "8", stdin=turns)
    assert text.count("\n") >= 13


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_chat_reads_any_bytes(chat_model, encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    turns = b"caf\xc3\xa9\n\xff\x00\xe2\x82\n"
    assert run("chat", chat_model, "-n", "4", stdin=turns, env=env).count("\n") >= 2


def test_chat_helps_and_leaves_the_terminal_at_a_new_line(chat_model):
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kernel_llm", "chat", chat_model, "-n", "4"],
        cwd=ROOT, stdin=inside, stdout=inside, stderr=inside, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    os.close(inside)
    said, typed = b"", [b"\x04", b"/help\n"]
    with contextlib.suppress(OSError):  # the terminal is gone
        while part := os.read(terminal, 4096):
            said += part
            if said.endswith(b"> "):
                os.write(terminal, typed.pop())
    os.close(terminal)
    assert process.wait(60) == 0
    assert said.count(b"/reset forgets") == 2
    assert said.endswith(b"> \r\n")


def test_a_long_text_shows_how_far_it_is_read(model, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the hello " * 20)
    n_token = len(run("tokenize", model, "-f", text).split())
    prompt = ["generate", model, "-f", text, "-n", "1"]
    assert f"{n_token}/{n_token}" in at_a_terminal(*prompt, "--batch", "8")
    assert f"/{n_token}" not in at_a_terminal(*prompt, "--batch", n_token)
    assert f"{n_token - 1}/{n_token - 1}" in at_a_terminal("score", model, text, "--batch", "8")


ERRORS = {
    "a file that is not there": (["generate", "no/such.gguf", "-p", "a"], "no such file"),
    "a name nobody knows": (["pull", "gpt-9"], "smollm2-135m"),
    "a folder": (["inspect", "."], "."),
    "not a model": (["inspect", __file__], "test_cli.py: magic at byte 0"),
    "an empty prompt": (["generate", "MODEL", "-p", ""], "prompt is empty"),
    "a prompt longer than the context": (
        ["generate", "MODEL", "--ctx", "8", "-p", "hello " * 20], "SPACE"),
    "a context the model does not have": (["plan", "MODEL", "--ctx", "100000"], "model's 256"),
    "a temperature below 0": (["generate", "MODEL", "-p", "a", "--temp", "-1"], "temperature"),
    "an empty name": (["generate", "", "-p", "a"], "'': no such file"),
    "an empty name of a text": (["generate", "-f", ""], "'': No such file"),
    "a text longer than the context": (
        ["score", "MODEL", __file__, "--ctx", "16"], "test_cli.py: "),
    "a checksum that is not there": (["inspect", "MODEL", "--verify"], "no checksum"),
    "system text for a plain model": (
        ["generate", "MODEL", "-p", "a", "--system", "b"], "--system"),
    "two prompts": (["generate", "MODEL", "-p", "a", "-f", __file__], "not both"),
    "chat with a plain model": (["generate", "MODEL", "-p", "a", "--chat"], "turn format"),
    "a text file that is not there": (["score", "MODEL", "no/such.txt"], "no/such.txt"),
    "an output nobody may write": (["pack", "MODEL", "-o", "/proc/x.kllm"], "/proc"),
    "a text without an end": (["score", "MODEL", "/dev/zero"], "/dev/zero has more than 64 MiB"),
    "a prompt without an end": (["generate", "MODEL", "-f", "/dev/zero"], "more than 64 MiB"),
    "an empty text to stop at": (["generate", "MODEL", "--stop", ""], "stop at is empty"),
    "an unknown pre-tokenizer": (
        ["pack", "MODEL", "-o", "OUT", "--pre", "nosuch"], "nosuch"),
}  # fmt: skip


@pytest.mark.parametrize("title", ERRORS)
def test_an_error_is_one_line_and_status_2(model, tmp_path, title):
    words, part = ERRORS[title]
    words = [{"MODEL": model, "OUT": tmp_path / "x.kllm"}.get(w, w) for w in words]
    assert part in run(*words, status=2)
    assert list(tmp_path.iterdir()) == []


# What each command is given instead of a model, and the words around it.
NO_MODELS = ["missing", "folder", "folder/", "empty", "text", "cut off", "an image cut off"]
MODEL_COMMANDS = [
    "kernel_llm inspect MODEL", "kernel_llm plan MODEL", "kernel_llm pack MODEL -o OUT",
    "kernel_llm quantize MODEL q4_0 -o OUT", "kernel_llm generate MODEL -p a",
    "kernel_llm tokenize MODEL -p a", f"kernel_llm score MODEL {__file__}",
    "kernel_llm chat MODEL", f"tokenizer count MODEL {__file__}", "tokenizer convert MODEL -o OUT",
]  # fmt: skip


@pytest.fixture(scope="module")
def no_models(model, tmp_path_factory):
    """A folder of files that are no models, by their names in NO_MODELS."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "folder").mkdir()
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_bytes(b"hello, world\n")
    (folder / "cut off").write_bytes(model.read_bytes()[:5000])
    run("pack", model, "-o", folder / "an image cut off")
    os.truncate(folder / "an image cut off", 5000)
    return folder


@pytest.mark.parametrize("command", MODEL_COMMANDS)
@pytest.mark.parametrize("name", NO_MODELS)
def test_a_file_that_is_no_model_is_named_once(no_models, tmp_path, name, command, capsys):
    path = f"{no_models}/{name}"
    module, *words = command.split(" ")
    words = [{"MODEL": path, "OUT": f"{tmp_path}/out"}.get(word, word) for word in words]
    assert {"kernel_llm": main, "tokenizer": tokenizer_main}[module](words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == error.count(path) == 1
    assert error.startswith(f"{module}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NO_MODELS)
def test_open_names_a_file_that_is_no_model_once(no_models, name):
    path = f"{no_models}/{name}"
    for open_file in (kernel_llm.open, kernel_llm.Tokenizer.from_file):
        with pytest.raises((kernel_llm.KllmError, OSError)) as caught:
            open_file(path)
        assert str(caught.value).count(path) == 1


def test_standard_input_without_an_end_is_refused(chat_model):
    for command in ("generate", "tokenize", "chat"):
        with open("/dev/zero", "rb") as zeros:
            words = [sys.executable, "-m", "kernel_llm", command, chat_model]
            found = subprocess.run(words, cwd=ROOT, stdin=zeros, capture_output=True, timeout=120)
        assert (found.returncode, found.stdout) == (2, b"")
        assert found.stderr == b"kernel_llm: RANGE: standard input has more than 64 MiB of text\n"


def test_what_is_wrong_is_told_before_a_prompt_is_asked_for(model):
    for words, part in (
        (["no/such"], b"no such file"), ([model, "--temp", "-1"], b"temperature"),
        ([model, "--stop", ""], b"stop at"),
    ):  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_llm", "generate", *words], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        error = process.stderr.read()  # while standard input stays open
        assert process.wait(60) == 2 and part in error
        assert process.communicate() == (b"", b"")


def test_a_full_disk_leaves_what_was_there(model, tmp_path):
    output = tmp_path / "m.kllm"
    output.write_bytes(b"precious")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    assert "File too large" in run("pack", model, "-o", output, status=2, preexec_fn=limit)
    assert output.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["m.kllm"]


def test_a_damaged_image_is_refused_with_the_place(model, tmp_path):
    image = tmp_path / "m.kllm"
    run("pack", model, "-o", image)
    content = bytearray(image.read_bytes())
    content[300] ^= 1
    image.write_bytes(content)
    error = run("generate", image, "-p", "a", status=2)
    assert f"FORMAT: {image}: table_crc at byte" in error


def test_an_image_that_is_cut_off_has_no_plan(model, tmp_path):
    image = tmp_path / "m.kllm"
    run("pack", model, "-o", image)
    content = image.read_bytes()
    for n_bytes, what in ((4, "header at byte 0"), (256, "n_bytes at byte 8"),
                          (len(content) - 64, "n_bytes at byte 8")):  # fmt: skip
        image.write_bytes(content[:n_bytes])
        error = run("plan", image, "--ctx", "8", status=2)
        assert f"FORMAT: {image}: {what}: not that of an image of {n_bytes} bytes" in error


def test_inspect_shows_names_that_are_no_text_and_lets_none_act(model, tmp_path):
    image, path = tmp_path / "m.kllm", tmp_path / "m.gguf"
    run("pack", model, "-o", image)
    content = bytearray(image.read_bytes())
    off, size = _abi.KLLM_IMAGE[1]["name"]
    content[off : off + size] = b"\xff".ljust(size, b"\0")
    off, kind = _abi.KLLM_IMAGE[1]["header_crc"]
    struct.pack_into(kind, content, off, zlib.crc32(content[:off]))
    image.write_bytes(content)
    assert json.loads(run("inspect", image, "--json"))["fields"]["name"] == r"b'\xff'"
    content = model.read_bytes().replace(b"output_norm.weight", b"output_norm\x1b[2J.wt")
    path.write_bytes(content.replace(b"general.architecture", b"general.architec\x1b[2J"))
    assert run("inspect", path).count(r"\x1b[2J") == 2


def test_damaged_weights_are_found_on_request(model, tmp_path):
    image = tmp_path / "m.kllm"
    run("pack", model, "-o", image)
    assert "blk.0.attn_q" in run("inspect", image, "--verify")
    content = bytearray(image.read_bytes())
    content[-100] ^= 1
    image.write_bytes(content)
    assert "damaged" in run("inspect", image, "--verify", status=2)


def test_an_interrupt_ends_a_generation_cleanly(model):
    process = subprocess.Popen(
        [sys.executable, "-m", "kernel_llm", "generate", str(model), "-p", "a", "-n", "100000",
         "--ctx", "256", "--temp", "2", "--top-k", "0", "--top-p", "1", "--min-p", "0"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode in (0, 130) and b"Traceback" not in error


def test_a_packed_model_is_packed_once_and_again_when_the_file_changes(tmp_path, tiny_models):
    source = tiny_models("llama", "q4_0")
    path = tmp_path / "m.gguf"
    path.write_bytes(source.read_bytes())
    run("generate", path, "-p", "a", "-n", "2")
    first = packed_path(path)
    stamp = first.stat().st_mtime_ns
    run("generate", path, "-p", "a", "-n", "2")
    assert first.stat().st_mtime_ns == stamp
    os.utime(path, (time.time() + 5, time.time() + 5))
    run("generate", path, "-p", "a", "-n", "2")
    assert not first.exists() and packed_path(path).exists()
