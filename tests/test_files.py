"""Atomic writing and the cache directory."""

import os
import signal
import subprocess
import sys

import pytest

from conftest import ROOT
from kernel_llm.files import atomic_write, cache_dir, check_writable


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_replaces_the_file_at_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with atomic_write(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_atomic_write_leaves_everything_after_an_error(error, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


KILLED = """
import os, signal, sys
from kernel_llm.files import atomic_write
from kernel_llm.terminal import run_command

def work():
    with atomic_write(sys.argv[1]) as file:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), int(sys.argv[2]))

sys.exit(run_command("work", work))
"""


def killed_while_writing(path, number):
    """Returns (exit status, standard error) of a command that a signal hits while it writes."""
    words = [sys.executable, "-c", KILLED, path, str(int(number))]
    done = subprocess.run(words, cwd=ROOT, stderr=subprocess.PIPE)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_asked_to_end_leaves_nothing_half_written(tmp_path, number):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    assert killed_while_writing(path, number) == (128 + number, b"")
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path):
    """But not what another process writes there, nor what is somebody else's."""
    assert killed_while_writing(tmp_path / "a", signal.SIGKILL)[0] == -signal.SIGKILL
    (tmp_path / ".kernel-llm-mine.part").touch()
    assert len(names(tmp_path)) == 2
    with atomic_write(tmp_path / "a") as first, atomic_write(tmp_path / "b") as second:
        first.write(b"a")
        second.write(b"b")
    assert names(tmp_path) == [".kernel-llm-mine.part", "a", "b"]


def test_atomic_write_on_a_full_disk(tmp_path):
    """The limit on a file's size stands for the disk's: both fail in write."""
    script = (
        "import resource, sys\n"
        "from kernel_llm.files import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    with atomic_write(sys.argv[1]) as file:\n"
        "        file.write(bytes(100000))\n"
        "except OSError as error:\n"
        "    sys.exit(7 if error.filename == sys.argv[1] else 8)\n"
    )
    path = tmp_path / "a"
    path.write_bytes(b"before")
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == 7
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


def test_atomic_write_obeys_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_atomic_write_follows_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/target")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "target").read_bytes() == b"x"


@pytest.mark.parametrize("path", ["/dev/null", "."])
def test_atomic_write_refuses_what_is_no_file(path):
    with pytest.raises(OSError, match="not a regular file"), atomic_write(path):
        pass


def test_atomic_write_refuses_a_file_that_is_protected(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    path.chmod(0o444)
    if os.geteuid() == 0:  # who may write it nevertheless
        monkeypatch.setattr(os, "access", lambda path, mode: os.stat(path).st_mode & 0o200)
    with pytest.raises(PermissionError) as caught, atomic_write(path):
        pass
    assert caught.value.filename == str(path) and path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


def test_atomic_write_needs_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "no" / "a"):
        pass
    assert caught.value.filename == str(tmp_path / "no" / "a")


@pytest.mark.parametrize("name", ["no/a", ".", "device"])
def test_what_cannot_be_written_is_told_before_and_stays(tmp_path, name):
    os.mkfifo(tmp_path / "device")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError) as caught:
        check_writable(tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    (tmp_path / "a").write_bytes(b"before")
    check_writable(tmp_path / "a")
    check_writable(tmp_path / "b")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "a"])


def test_cache_dir_is_where_xdg_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_dir() == tmp_path / "x" / "kernel-llm"
    assert cache_dir().is_dir()


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_cache_dir_is_in_the_home_otherwise(value, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "kernel-llm"
