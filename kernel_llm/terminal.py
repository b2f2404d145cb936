# SPDX-License-Identifier: Apache-2.0
"""
What the command lines share: streams that are there, one line for an error, the exit status.
CPython only.
"""

import argparse
import contextlib
import os
import signal
import sys

from kernel_llm._abi import KLLM_ERR_RANGE
from kernel_llm.errors import KllmError

TEXT_BYTES = 64 << 20  # no context takes as much
INTERRUPTED = 130
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words of a command."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help lists what may be given)\n")


def positive(text):
    """Returns the whole number of 1 or more that an argument must be."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def printable(text):
    """Returns text in one line: line ends and control characters as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def standard_input():
    """Returns standard input for reading bytes; tells a person at a terminal that it is read."""
    if sys.stdin.isatty():
        print("reading standard input; Ctrl-D ends it", file=sys.stderr)
    return sys.stdin.buffer


def whole_text(read, name="standard input"):
    """
    Returns what read(n) gives of a text that is wanted whole; some files never end.

    Raises KllmError(RANGE) naming it if that is more than TEXT_BYTES.
    """
    text = read(TEXT_BYTES + 1)
    if len(text) > TEXT_BYTES:
        where = f"{name} has more than {TEXT_BYTES >> 20} MiB of text"
        raise KllmError(KLLM_ERR_RANGE, where)
    return text


def run_command(name, action, errors=()):
    """
    Calls action() and returns the exit status: what it returned or 0, 2 after an error, of which
    one line on standard error tells, 130 after an interrupt. A signal that asks for an end, such
    as SIGTERM, raises SystemExit with 128 + its number: nothing stays half written then, either.

    errors: exception types that are errors of the user, besides KllmError, ImportError, OSError.
    A reader of standard output that goes away early, as `head` does, is no error.
    """
    _prepare_streams()
    try:
        with _ending_in_order():
            status = action() or 0
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return 0
    except MemoryError:
        message = "out of memory"
    except OSError as error:
        message = str(error.strerror or error)
        if error.filename is not None:
            message = f"{os.fsdecode(error.filename) or repr('')}: {message}"
    except (KllmError, ImportError, *errors) as error:  # a core or a package that is not there
        message = str(error)
    print(f"{name}: {printable(message)}", file=sys.stderr)
    _abandon_output()
    return 2


@contextlib.contextmanager
def _ending_in_order():
    """Makes signals that would end this process at once raise SystemExit; ignored ones stay so."""

    def end(number, _):
        raise SystemExit(128 + number)

    numbers = [n for n in _ENDING if signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _prepare_streams():
    """Opens what the caller closed, in the order of the numbers; any bytes and characters pass."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (it lives until the end)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if hasattr(stream, "reconfigure"):  # not one that somebody put in its place
            stream.reconfigure(errors=errors)


def _abandon_output():
    """What is still in the buffer of standard output fails no more when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
