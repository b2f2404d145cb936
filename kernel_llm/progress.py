"""How long work shows that it goes on. CPython only."""

import sys
from contextlib import contextmanager


@contextmanager
def show_progress(title, in_bytes=True):
    """
    Gives a function(done, total) that draws a bar on standard error, if that is a terminal.

    in_bytes: done and total are bytes; otherwise they are counts of what the title says.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TimeRemainingColumn,
    )

    count = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = ("{task.description}", BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
