# SPDX-License-Identifier: Apache-2.0
"""
Benches that run in other processes: two builds of one library cannot share one.

Requests and answers are lines of JSON on the process's stdin and stdout.
"""

import json
import subprocess

from benches.run import Probe


class BuildError(Exception):
    """A build that cannot be made or started; the message is one line."""


class Process:
    """
    A process that answers requests: {"open": …} with {"probe": index} or {"error": text},
    {"burst": index, "loops", "n", "discard"} with {"ns": […]}, {"close": true} frees all.
    """

    def __init__(self, command, **options):
        # A Ctrl-C is for who asks: he tells it, by closing the pipe, when the answer is there.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, start_new_session=True, **options)  # fmt: skip

    def ask(self, request):
        """Sends a request and returns the answer; raises BuildError if the process is gone."""
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return self._answer(line)

    def hello(self):
        """Returns the line that a process writes before it is asked."""
        return self._answer(self._process.stdout.readline())

    def _answer(self, line):
        if not line:
            raise BuildError(f"the process of a build ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class RemoteProbe(Probe):
    """A Probe whose bench runs in a Process, which opens it as `request` says."""

    def __init__(self, bench, process, request):
        self.bench = bench
        self.loops = 0
        self.n_warmup = 0
        self.samples = []
        self.spent_ns = 0
        self._process = process
        self.answer = process.ask({"open": request})
        self.error = self.answer.get("error", "")
        self._index = self.answer.get("probe")

    def time_once(self):
        return self.burst(1)[0]

    def burst(self, n, discard=0):
        request = {"burst": self._index, "loops": self.loops, "n": n, "discard": discard}
        return self._process.ask(request)["ns"]
