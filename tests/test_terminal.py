"""The command lines as a shell runs them: any words, closed and full streams, signals."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT

GENERATE = ("generate", "-p", "a", "-n", "2")
VOCAB = "kernel_llm/data/shakespeare-2m.q4_0.gguf"

# Words that a user may get wrong, and a part of the one line that says so.
WRONG = [
    ((), "required: COMMAND"),
    (("nosuch",), "invalid choice"),
    ((*GENERATE, "--nosuch"), "--nosuch"),
    (("score",), "required: model, file"),
    (("chat",), "required: model"),
    ((*GENERATE, "--threads", "0"), "'0' is not a whole number of 1 or more"),
    ((*GENERATE, "--threads", "two"), "'two' is not a whole number"),
    ((*GENERATE, "--threads", "10000"), "threads is 10000, not within 1"),
    ((*GENERATE, "-n", "0"), "-n/--tokens"),
    ((*GENERATE, "--ctx", str(2**40)), "n_ctx"),
    ((*GENERATE, "--batch", str(2**70)), "n_batch"),
    (("plan", "--seqs", "100000"), "n_seq"),
    ((*GENERATE, "--temp", "nan"), "temperature is nan"),
    ((*GENERATE, "--top-p", "2"), "top_p"),
    ((*GENERATE, "--seed", "-1"), "seed is -1"),
    ((*GENERATE, "--seed", str(2**64)), "seed"),
    (("generate", "no\nsuch\x1b[2J", "-p", "a"), r"no\nsuch\x1b[2J: no such file"),
    (("inspect", "/dev/null"), "not a file"),
]


def run(module, *words, **options):
    """Runs a command; returns (status, standard output, standard error) as bytes."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
    words = [sys.executable, "-m", module, *words]
    done = subprocess.run(words, cwd=ROOT, stderr=subprocess.PIPE, timeout=60, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words, part", WRONG, ids=lambda v: " ".join(v)[-30:])
def test_wrong_words_are_one_line_and_status_2(words, part):
    status, _, error = run("kernel_llm", *words)
    assert (status, error.count(b"\n")) == (2, 1)
    assert part in error.decode() and error.startswith(b"kernel_llm")


def test_wrong_words_of_the_tokenizer_are_one_line_too():
    for words in ((), ("encode",), ("encode", "/nope"), ("train", "/nope", "-o", "/proc/x")):
        status, _, error = run("tokenizer", *words)
        assert (status, error.count(b"\n")) == (2, 1) and error.startswith(b"tokenizer")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["kernel_llm generate -p a -n 2", "kernel_llm tokenize",
                                   f"tokenizer encode {VOCAB} README.md",
                                   f"tokenizer count {VOCAB}"])  # fmt: skip
def test_a_closed_stream_is_like_an_empty_one(words, closed):
    command = f"exec {sys.executable} -m {words} {closed}"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True)
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.parametrize("words", [("kernel_llm", "inspect"), ("kernel_llm", *GENERATE),
                                   ("kernel_llm", *GENERATE, "--json"),
                                   ("tokenizer", "count", VOCAB, "README.md")])  # fmt: skip
def test_a_full_disk_behind_standard_output_is_an_error(words):
    with open("/dev/full", "wb") as full:
        status, _, error = run(*words, stdout=full)
    assert (status, error.count(b"\n")) == (2, 1) and b"No space left" in error


def test_a_reader_that_goes_away_is_no_error():
    for words in (f"tokenizer encode {VOCAB} README.md", "kernel_llm inspect"):
        command = f"{sys.executable} -m {words} | head -c 1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"},
                                    {"LC_ALL": "C", "PYTHONUTF8": "0",
                                     "PYTHONCOERCECLOCALE": "0"}])  # fmt: skip
def test_any_bytes_pass_in_any_locale(locale):
    env = {**os.environ, **locale}
    status, output, error = run(
        "kernel_llm", "tokenize", "--json", "-p", b"\xc3\xa9 \xff", env=env
    )
    assert status == 0, error
    assert (b'"ids"' in output and b"\\ufffd" in output) or "\ufffd".encode() in output


def takes_signals(pid):
    """Says whether a command has begun: run_command has a handler for SIGTERM."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize("words", [
    "benches.prove --repeat 99 --samples 10 --busy 1",
    "benches.suite --only arena --samples 1000000",
    "benches.suite --only arena --samples 1000000 --against HEAD", "kernel_llm tokenize",
    "tokenizer count " + VOCAB,
])  # fmt: skip
@pytest.mark.parametrize("ask, status", [
    (lambda pid: os.killpg(pid, signal.SIGINT), 130),  # as a terminal does
    (lambda pid: os.kill(pid, signal.SIGTERM), 143),
], ids=["ctrl-c", "kill"])  # fmt: skip
def test_who_asks_a_command_to_end_ends_all_it_started(words, ask, status, tmp_path):
    out = ["--out", str(tmp_path / "a.json")] if words.startswith("benches") else []
    process = subprocess.Popen([sys.executable, "-m", *words.split(), *out], cwd=ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    while not takes_signals(process.pid):
        time.sleep(0.1)
    time.sleep(2)  # its imports are over then
    ask(process.pid)
    error = process.stderr.read()  # to its end: nobody is left who could write
    assert process.wait(30) == status and b"Traceback" not in error
    told = [line for line in error.splitlines() if line and not line.startswith(b"building HEAD")]
    assert len(told) <= 1


def test_a_person_at_a_terminal_is_told_that_text_is_waited_for():
    for words in (("kernel_llm", "tokenize"), ("tokenizer", "count", VOCAB)):
        terminal, inside = os.openpty()
        process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdin=inside,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        os.write(terminal, b"a\n\x04")
        out, error = process.communicate(timeout=60)
        os.close(terminal)
        os.close(inside)
        assert process.returncode == 0 and out
        assert error == b"reading standard input; Ctrl-D ends it\n"


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3, 0.6])
def test_an_interrupt_at_any_time_is_no_traceback(delay):
    words = [sys.executable, "-m", "kernel_llm", *GENERATE[:-1], "100000", "--temp", "1"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode != 2
    assert b"in run_command" not in error  # what comes before it is Python's own start
