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

ROOT = Path(__file__).resolve().parent.parent

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/types.h>
static unsigned long count;
unsigned long count_alloc(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }
static void add(void) { __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED); }
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { add(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { add(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { add(); return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { add(); return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { add(); return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    add();
    *p = __libc_memalign(a, n);
    return *p ? 0 : 12;
}
typedef void *mmap_fn(void *, size_t, int, int, int, off_t);
void *mmap(void *a, size_t n, int prot, int flags, int fd, off_t off) {
    static mmap_fn *real;
    if (!real) { real = (mmap_fn *)dlsym(RTLD_NEXT, "mmap"); }
    add();
    return real(a, n, prot, flags, fd, off);
}
"""


def count(ids, selection_json, seconds):
    """
    Returns ({id: allocations of an operation}, ""), or ({}, why it cannot be counted here).
    """
    if machine.emulator()[0]:
        return {}, "the compiler here makes no programs of the emulated machine"
    library = machine.work_dir() / "count_alloc.so"
    if not library.exists() and (why := _build(library)):
        return {}, why
    child = [sys.executable, "-m", "benches.alloc"]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    request = json.dumps({"ids": list(ids), "selection": selection_json})
    try:
        done = subprocess.run(child, input=request, capture_output=True, text=True, cwd=ROOT,
                              env=environment, timeout=seconds)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {}, "counting took too long"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["?"]
        return {}, f"the counting process failed: {lines[-1]}"
    return json.loads(done.stdout), ""


def _build(library):
    """Compiles the counter, whole or not at all; returns "" or why it cannot be had."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "no C compiler to build the counter"
    part = library.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", str(part), "-ldl"]
    made = subprocess.run(command, input=SOURCE, capture_output=True, text=True)
    if made.returncode != 0:
        return "the counter does not compile with this libc"
    part.replace(library)
    return ""


def _child():
    from benches.declare import Selection, collect

    request = json.load(sys.stdin)
    wanted = set(request["ids"])
    counter = ctypes.CDLL(None).count_alloc
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
