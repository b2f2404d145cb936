# SPDX-License-Identifier: Apache-2.0
"""
Counts allocations of benches: each runs in a child process in which malloc and mmap are counted.

The count of many loops less that of few leaves what an operation allocates.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benches import machine

SOURCE = Path(__file__).resolve().parent / "count_alloc.c"


def count(ids, selection_json, seconds):
    """
    Returns ({id: allocations of an operation}, ""), or ({}, why it cannot be counted here).
    """
    if machine.emulator()[0]:
        return {}, "the compiler here makes no programs of the emulated machine"
    library = machine.work_dir() / "alloc_calls.so"
    if why := _build(library):
        return {}, why
    child = [sys.executable, "-m", "benches.alloc"]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    request = json.dumps({"ids": list(ids), "selection": selection_json})
    try:
        done = subprocess.run(child, input=request, capture_output=True, text=True,
                              cwd=machine.ROOT, env=environment, timeout=seconds)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {}, "counting took too long"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["?"]
        return {}, f"the counting process failed: {lines[-1]}"
    return json.loads(done.stdout), ""


def _build(library):
    """Compiles the counter if need be, whole or not at all; returns "" or why it cannot be had."""
    if library.exists() and library.stat().st_mtime > SOURCE.stat().st_mtime:
        return ""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "no C compiler to build the counter"
    part = library.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O1", "-shared", "-fPIC", str(SOURCE), "-o", str(part), "-ldl"]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return "the counter does not compile with this libc"
    part.replace(library)
    return ""


def _child():
    from benches.declare import Selection, collect

    request = json.load(sys.stdin)
    wanted = set(request["ids"])
    counter = ctypes.CDLL(None).alloc_calls
    counter.restype = ctypes.c_ulong
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in request["selection"].items()}
    benches, _ = collect(Selection(**fields))
    out = {}
    for bench in benches:
        if bench.id not in wanted:
            continue
        run = bench.make()
        few, many = (1, 3) if bench.weight > 1 else (10, 110)
        run(few)
        taken = []
        for loops in (few, many):
            before = counter()
            run(loops)
            taken.append(counter() - before)
        out[bench.id] = max(0, taken[1] - taken[0]) / (many - few)
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    _child()
