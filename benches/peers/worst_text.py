# SPDX-License-Identifier: Apache-2.0
"""Texts that are slow to tokenize, for the row that holds them to English."""

import random


def worst_texts(n_bytes):
    """Returns {name: bytes} of so many bytes each, the same every time."""
    rng = random.Random(1)
    letters = b"etaoinshrdlcumwfgypbvkjxqz"
    words = [bytes(rng.choices(letters, k=100)) for _ in range(n_bytes // 100 + 1)]
    made = {
        "random bytes": rng.randbytes(n_bytes),
        "random letters": bytes(rng.choices(letters, k=n_bytes)),
        "words of 100 letters": b" ".join(words),
        "one letter": b"a" * n_bytes,
        "one sign": b"-" * n_bytes,
        "spaces": b" " * n_bytes,
        "line ends": b"\n" * n_bytes,
        "white space": bytes(rng.choices(b" \n\t", k=n_bytes)),
        "one word without end": b"the" * n_bytes,
        "ideographs": "".join(map(chr, rng.choices(range(0x4E00, 0x9FA5), k=n_bytes))).encode(),
        "emoji": "".join(map(chr, rng.choices(range(0x1F300, 0x1F600), k=n_bytes))).encode(),
    }
    return {name: text[:n_bytes] for name, text in made.items()}
