"""The cache of packed images, whatever happens to it: killed, shared, damaged, in the way."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from conftest import ROOT
from kernel_llm import _abi
from kernel_llm.errors import KllmError
from kernel_llm.opening import open_image, packed_path, plan_of
from kernel_llm.pack import pack
from kernel_llm.progress import show_progress

KILLED_WHILE_PACKING = """
import contextlib, os, signal, sys
from kernel_llm.opening import open_image

@contextlib.contextmanager
def progress(title):
    yield lambda done, total: os.kill(os.getpid(), signal.SIGKILL)

open_image(sys.argv[1], progress)
"""


@pytest.fixture
def model(tiny_models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tiny_models("llama", "q4_0")


def left_in(model):
    return sorted(path.name for path in packed_path(model).parent.iterdir())


def test_a_killed_pack_leaves_nothing_once_another_has_packed(model):
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_PACKING, model], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert len(left_in(model)) == 2 and left_in(model)[0].endswith(".part")
    open_image(model).close()
    assert left_in(model) == [".lock", packed_path(model).name]


def test_processes_that_open_a_model_at_once_pack_it_once(model):
    script = (
        "import sys\n"
        "from kernel_llm import opening, pack\n"
        "inner = pack.pack\n"
        "pack.pack = lambda *words: (print('packed'), inner(*words))\n"
        "opening.open_image(sys.argv[1]).check_body()\n"
    )
    words = [sys.executable, "-c", script, model]
    started = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert b"".join(outputs) == b"packed\n"
    assert left_in(model) == [".lock", packed_path(model).name]


@pytest.mark.parametrize("damage", ["", "half", "header"])
def test_a_damaged_image_in_the_cache_is_made_again(model, damage):
    open_image(model).close()
    path = packed_path(model)
    whole = path.read_bytes()
    path.write_bytes({"": b"", "half": whole[: len(whole) // 2],
                      "header": whole[:40] + b"?" + whole[41:]}[damage])  # fmt: skip
    open_image(model).check_body()
    assert path.read_bytes() == whole


def test_a_new_image_takes_the_place_of_former_ones_of_its_file(model, tmp_path):
    """Of the file as it was, and under names of other versions; others stay."""
    own, twin = tmp_path / "own.gguf", tmp_path / "twin.gguf"
    for path in (own, twin):
        path.write_bytes(model.read_bytes())
        open_image(path).close()
    images = packed_path(own).parent
    image = packed_path(twin).read_bytes()
    for name in ("own-0123456789abcdef.kllm", "own-0123456789ab-0123456789ab.kllm"):
        (images / name).write_bytes(image)
    off = _abi.KLLM_IMAGE[1]["model_hash"][0]
    (images / "other-0123456789ab-0123456789ab.kllm").write_bytes(
        image[:off] + bytes(32) + image[off + 32 :]
    )
    (images / "notes.txt").write_text("mine")
    os.utime(own, ns=(0, 0))
    open_image(own).close()
    assert left_in(own) == sorted([".lock", "notes.txt", "other-0123456789ab-0123456789ab.kllm",
                                   packed_path(own).name, packed_path(twin).name])  # fmt: skip


@pytest.mark.parametrize("name", ["a\nb [*] \udcff", "m" * 250, "模" * 83], ids=ascii)
def test_a_file_may_have_any_name(model, tmp_path, name):
    own = tmp_path / f"{name}.gguf"
    own.write_bytes(model.read_bytes())
    for time in (0, 1):
        os.utime(own, ns=(0, time))
        open_image(own).close()
    assert left_in(own) == [".lock", packed_path(own).name]


def test_an_open_image_outlives_its_file(model):
    image = open_image(model)
    packed_path(model).unlink()
    image.check_body()
    assert image.n_vocab > 0


def test_a_model_that_changes_while_it_is_packed_is_refused(model, tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(model.read_bytes())

    @contextlib.contextmanager
    def writer(title):
        yield lambda done, total: os.utime(own, ns=(0, 0))

    with pytest.raises(KllmError, match="changed while"):
        open_image(own, writer)
    assert left_in(own) == [".lock"]
    os.truncate(own, 60_000)
    with pytest.raises(KllmError, match="at byte"):
        open_image(own)


def test_an_image_never_replaces_its_own_file(model, tmp_path):
    own, link = tmp_path / "own.gguf", tmp_path / "link.kllm"
    own.write_bytes(model.read_bytes())
    link.symlink_to(own)
    for output in (own, link):
        with pytest.raises(KllmError, match="would replace what it is made from"):
            pack(own, output, show_progress)
    assert own.read_bytes() == model.read_bytes()


def test_no_context_and_no_threads_have_no_plan(model):
    for options in ({"n_ctx": 0}, {"threads": 0}):
        with pytest.raises(KllmError, match="RANGE: .* is 0"):
            plan_of(model, **options)


def test_a_cache_that_cannot_be_written_says_what_to_do(model, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    with pytest.raises(OSError, match="XDG_CACHE_HOME names another place"):
        open_image(model)


def test_a_cache_that_is_full_says_what_to_do(model):
    """The limit on a file's size stands for the disk's: both fail in write."""
    script = (
        "import resource, sys\n"
        "from kernel_llm.opening import open_image\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    open_image(sys.argv[1])\n"
        "except OSError as error:\n"
        "    print(error.filename, error.strerror)\n"
    )
    words = [sys.executable, "-c", script, model]
    said = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    assert said.startswith(f"{packed_path(model)} ")
    assert said.endswith(" (XDG_CACHE_HOME names another place for the cache)\n")
    assert left_in(model) == [".lock"]
