"""Files that are whole or not there: the cache directory and atomic writing. CPython only."""

import contextlib
import errno
import fcntl
import glob
import os
import stat
from pathlib import Path

from kernel_llm._abi import KLLM_ERR_RANGE
from kernel_llm.errors import KllmError

# What is written at once, ends at a multiple of it and stays in the system's cache of files as one
# page there, where the file system can: then it is mapped as one.
HUGE_PAGE_BYTES = 2 << 20

_PART = ".kernel-llm-%s.part"  # locked while it is written

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def _saying_what_to_do(folder):
    """Adds to an OSError about a folder of the cache what helps where it cannot be written."""
    try:
        yield
    except OSError as error:
        at, folder = str(error.filename), str(folder)
        if at.startswith(folder) or folder.startswith(at):
            error.strerror = f"{error.strerror} (XDG_CACHE_HOME names another place for the cache)"
        raise


def cache_dir(name=""):
    """
    Returns the Path of a folder for what can be made again, created if missing.

    Raises OSError that says what to do if it cannot be created.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG rule: relative paths are ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    path = Path(base) / "kernel-llm" / name
    with _saying_what_to_do(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(folder):
    """Holds the lock of a cache folder; it goes with the process, so nothing stays locked."""
    with _saying_what_to_do(folder), open(folder / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def clear_parts(folder):
    """Removes what killed processes left half written: parts in a folder that nobody locks."""
    for part in glob.glob(os.path.join(glob.escape(folder), _PART % ("[0-9a-f]" * 16))):
        with contextlib.suppress(OSError):  # another process writes or has removed it
            fd = os.open(part, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(part)
            finally:
                os.close(fd)


def sync_dir(path):
    """Makes names in a directory survive a power cut, where the file system can."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:
        pass  # some network file systems refuse; the data itself was synced before
    finally:
        os.close(fd)


@contextlib.contextmanager
def atomic_write(path):
    """
    Gives a file open for writing bytes that becomes `path` when the block ends without an error.

    Until then, and after an error or an interrupt, whatever was at `path` is still there and
    nothing new is. A link at `path` stays; what it points to is replaced. What a killed process
    left in that folder is removed.
    Raises OSError, also where `path` is a directory, a device or a file that may not be written.
    """
    target, part, fd = _begin(path)
    try:
        with open(fd, "wb", buffering=HUGE_PAGE_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, target)  # while it is locked
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            error.filename = os.fspath(path)
        raise
    sync_dir(os.path.dirname(target))


def check_writable(path):
    """Raises the OSError with which atomic_write could not begin, before work is done for it."""
    _, part, fd = _begin(path)
    os.close(fd)
    os.unlink(part)


def check_apart(output, *sources):
    """Raises KllmError(RANGE) if an output would replace one of the files that it is made from."""
    for source in sources:
        if os.path.exists(output) and os.path.samefile(source, output):
            where = f"{output}: the output would replace what it is made from"
            raise KllmError(KLLM_ERR_RANGE, where)


def _begin(path):
    """Returns (the file to replace, the path of a new one beside it, open for writing)."""
    try:
        target = os.path.realpath(path)
        if os.path.lexists(target):
            if not stat.S_ISREG(os.stat(target).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if not os.access(target, os.W_OK):  # replacing it would not ask
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        folder = os.path.dirname(target)
        clear_parts(folder)
        while True:
            part = os.path.join(folder, _PART % os.urandom(8).hex())
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with contextlib.suppress(OSError):  # file systems without locks
                fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink > 0:  # not cleared before it was locked
                return target, part, fd
            os.close(fd)
    except OSError as error:
        error.filename = os.fspath(path)  # what the user asked for
        raise
