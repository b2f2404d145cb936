# SPDX-License-Identifier: Apache-2.0
"""
One sample of an encoder in a process of its own: `-m benches.peers.text_worker NAME VOCAB TEXT`.

VOCAB is a GGUF file, cut as GPT-2 does, TEXT a file. It writes the nanoseconds of one call, the
first but for one over a few words, in which an encoder sets up what it has put off.
"""

import sys
import time
from pathlib import Path

from benches.peers.encoders import fast_encoders


def main(name, vocab, path):
    text = Path(path).read_bytes()
    encode = fast_encoders(vocab, len(text), {})[name]()
    encode(b"A few words.")
    start = time.perf_counter_ns()
    encode(text)
    print(time.perf_counter_ns() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
