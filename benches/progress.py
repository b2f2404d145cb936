# SPDX-License-Identifier: Apache-2.0
"""A bar on standard error: what is running and the time left."""

import sys
import time

REFRESH_S = 0.2


class progress:
    """Gives show(done, total, key): a bar on a terminal, otherwise nothing."""

    def __enter__(self):
        self._bar = None
        self._drawn = 0.0
        if not sys.stderr.isatty():
            return lambda done, total, key: None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:32.32}"), BarColumn(), TimeRemainingColumn())
        # drawn between turns only: a thread that draws would disturb the samples
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True,
                             auto_refresh=False)  # fmt: skip
        self._bar.start()
        task = self._bar.add_task("", total=1.0)

        def show(done, total, key):
            now = time.monotonic()
            is_due = now - self._drawn > REFRESH_S
            if is_due:
                self._drawn = now
            self._bar.update(task, completed=done / total, description=key, refresh=is_due)

        return show

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.stop()
