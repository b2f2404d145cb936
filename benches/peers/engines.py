# SPDX-License-Identifier: Apache-2.0
"""The engines of the contests, each in a process of its own."""

import importlib.machinery
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from benches.declare import UsageError
from benches.machine import ROOT
from benches.peers.models import AVX2, IK, LLAMA, OURS, folder
from benches.remote import BuildError, Process

# What __main__.py sets for the libraries it loads itself; an engine has the threads of its row.
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS")
INSTALL = 'CMAKE_ARGS="{flags}" pip install --no-cache-dir --no-binary {package} {more}{package}'
PACKAGE = "llama-cpp-python"
NATIVE_FLAGS = "-DGGML_NATIVE=ON"
AVX2_FLAGS = "-DGGML_NATIVE=OFF " + " ".join(
    f"-DGGML_{name}=ON" for name in ("AVX", "AVX2", "FMA", "F16C", "BMI2")
)


@dataclass(frozen=True)
class Peer:
    """An engine: what it is imported as, how it is built with pip, what must not be in it."""

    module: str
    flags: str = ""  # none: pip alone does not do it
    forbidden: str = ""
    has_folder: bool = False  # two builds of one package: this one lies in a folder of its own


PEERS = {
    OURS: Peer("kernel_llm"),
    LLAMA: Peer("llama_cpp", NATIVE_FLAGS),
    IK: Peer("ik_llama_cpp"),
    AVX2: Peer("llama_cpp", AVX2_FLAGS, "AVX512 = 1", has_folder=True),
}


class Engines:
    """
    The engines as processes, started when they are first asked for.

    folders: {name: folder to import a peer from}; without one it is what Python finds, or the
    folder of that name in the cache.
    """

    def __init__(self, folders):
        for name in folders:
            if name not in PEERS:
                raise UsageError(f"--peer {name}: known are {', '.join(PEERS)}")
        self._folders = folders
        self._environment = {k: v for k, v in os.environ.items() if k not in ONE_THREAD}
        self._processes = {}
        self.versions = {}
        self.missing = {}

    def process(self, name):
        """Returns the Process of an engine; raises BuildError saying how to install it."""
        if name in self.missing:
            raise BuildError(self.missing[name])
        if name not in self._processes:
            try:
                self._processes[name] = self.start(name)
            except BuildError as error:
                self.missing[name] = str(error)
                raise
        return self._processes[name]

    def start(self, name):
        """Returns a new Process of an engine."""
        peer, where = PEERS[name], self._folder(name)
        found = importlib.machinery.PathFinder.find_spec(peer.module, where or None)
        if found is None and name != OURS:
            raise BuildError(f"not installed; {install_line(name)}")
        process = Process([sys.executable, "-m", "benches.peers.worker", peer.module, *where],
                          cwd=ROOT, env=self._environment)  # fmt: skip
        try:
            hello = process.hello()
        except BuildError as error:
            process.close()
            raise BuildError(f"it does not start: {error}") from None
        if peer.forbidden and peer.forbidden in hello["info"]:
            process.close()
            raise BuildError(f"built with {peer.forbidden}; {install_line(name)}")
        self.versions[name] = hello["version"]
        return process

    def _folder(self, name):
        """Returns [the folder an engine is imported from], [] for wherever Python finds it."""
        if name in self._folders:
            return [str(Path(self._folders[name]).resolve())]
        usual = folder() / name
        return [str(usual)] if usual.is_dir() or PEERS[name].has_folder else []

    def free(self):
        """Closes what a contest has opened."""
        for process in self._processes.values():
            process.ask({"close": True})

    def close(self):
        """Ends the processes. May be called again."""
        while self._processes:
            self._processes.popitem()[1].close()


def install_line(name):
    """Returns the command that installs a peer, or where it stands."""
    peer = PEERS[name]
    if not peer.flags:
        return "how it is built stands in docs/benchmarking.md"
    target = shlex.quote(str(folder() / name))
    more = f"--no-deps --target {target} " if peer.has_folder else ""
    return INSTALL.format(flags=peer.flags, package=PACKAGE, more=more)
