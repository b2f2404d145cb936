# SPDX-License-Identifier: Apache-2.0
"""
Prints checksums of what engine and tokenizer give: run here and in an emulated CPython, the
two outputs must be the same. Arguments: model images; or --answer, one image and a prompt.
"""

import random
import sys

from kernel_llm import _native as native
from kernel_llm.image import Image
from kernel_llm.model import Model
from kernel_llm.sampler import Sampler

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "  two  spaces\n\n\tand tabs ",
    "naïve café, 東京, emoji \U0001f9ea, ½ and 12345",
    "<|endoftext|> is plain text here",
)


def crc(buffer, n_bytes):
    return native.kllm_crc32(0, native.pointer(buffer), n_bytes) & 0xFFFFFFFF


def report_tokenizer(model):
    rng = random.Random(7)
    noise = bytes(rng.randrange(256) for _ in range(400))
    for text in (*TEXTS, noise):
        ids = model.encode(text)
        print("encode", len(ids), ids[:8], sum(i * (n + 1) for n, i in enumerate(ids)))
        whole = text if isinstance(text, bytes) else text.encode()
        print("decode", model.encoder.decode_bytes(ids) == whole, model.decode(ids)[:20].encode())


def report_engine(path, kv, threads):
    with Model(Image(path), n_ctx=96, threads=threads, kv=kv, n_batch=16) as model:
        if kv == "f16":
            report_tokenizer(model)
        model.prefill(model.encode(TEXTS[0])[:40])
        sampler = Sampler(temperature=0.8, seed=11)
        for _ in range(12):
            token = model.sample(sampler)
            print(kv, threads, token, "%08x" % crc(model.logits(), 4 * model.n_vocab))
            model.step(token)
        print(kv, threads, model.score(5))


def report_answer(path, prompt):
    with Model(Image(path), n_ctx=64, threads=2) as model:
        model.prefill(model.encode(prompt))
        for _ in range(8):
            token = model.sample(Sampler())
            print(token, "%08x" % crc(model.logits(), 4 * model.n_vocab))
            model.step(token)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        report_answer(*sys.argv[2:])
        sys.exit()
    for image in sys.argv[1:]:
        for kv in ("f32", "f16", "q8_0"):
            report_engine(image, kv, 1)
        report_engine(image, "f16", 3)
