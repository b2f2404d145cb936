"""Generates 64 tokens with the heap locked from the first token to the last, and prints them."""

import sys
from array import array

import kernel_llm
from kernel_llm.sampler import Sampler

try:
    from micropython import heap_lock, heap_unlock

    LOCKS = True
except ImportError:  # CPython has no such lock: tests/test_noalloc.py counts there
    LOCKS = False

    def heap_lock():
        pass

    heap_unlock = heap_lock

N_TOKEN = 64
STOP = 1000000  # is added to ids that would end a text


def is_locked():
    try:
        bytearray(1000)
    except MemoryError:
        return True
    return False


def generate(model, sampler, ids):
    n_held = model.length()
    for i in range(N_TOKEN):
        token = model.sample(sampler)
        if token < 0:
            return token
        ids[i] = token
        status = model.step(token)
        if status < 0:
            return status
        if model.is_stop(token):
            ids[i] += STOP
    return model.length() - n_held


with kernel_llm.open(sys.argv[1], n_ctx=128) as model:
    if model.engine == "python":
        print("SKIP the Python engine allocates")
        sys.exit()
    model.prefill(model.encode("the world, hello "))
    sampler = Sampler(50.0, 0, 1.0, 0.0, 1.1, 64, 7)
    ids = array("I", [0] * N_TOKEN)
    locked = status = None  # a new name would make the table of names grow
    heap_lock()
    try:
        locked = is_locked()
        status = generate(model, sampler, ids)
        locked = locked and is_locked()
    finally:
        heap_unlock()
    print(locked == LOCKS, status, list(ids))
