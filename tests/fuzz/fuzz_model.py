"""
Damaged models, for long: `make fuzz`, or `python tests/fuzz/fuzz_model.py`.

GGUF files: each is refused with a KllmError or packed, opened and run. Images: the same in C,
under the address and undefined-behaviour sanitizers. Stops at the first fault and names its seed.
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from damaged import run_damaged

import build
from kernel_llm.errors import KllmError
from kernel_llm.gguf.read import GGUF
from kernel_llm.image import Image
from kernel_llm.model import Model
from kernel_llm.pack import pack
from kernel_llm.sampler import Sampler
from kernel_llm.terminal import run_command
from make_data import make_gpt2, make_llama

# -O0 compiles in a seventh of the time of -O1; as many images as 100,000 take as long with either.
SANITIZE = ("-O0", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all",
            "-Wno-error")  # fmt: skip
MODELS = ((make_llama, "q4_0"), (make_llama, "q4_1"), (make_llama, "q8_0"), (make_gpt2, "f16"))
BOUNDARIES = (0, 1, 2, 31, 32, 33, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


@contextlib.contextmanager
def no_progress(title):
    """Shows nothing."""
    yield lambda done, total: None


def make_models(folder):
    """Writes a small GGUF file of each kind and its image; returns their paths, in pairs."""
    pairs = []
    for make, dtype in MODELS:
        path = Path(folder, f"{make.__name__}-{dtype}.gguf")
        make(path, dtype=dtype, n_layer=1)
        pack(path, path.with_suffix(".kllm"), no_progress)
        pairs.append((path, path.with_suffix(".kllm")))
    return pairs


def sanitized_program(folder):
    """Builds tests/native/check_image.c and the whole core under the sanitizers."""
    target = build.host_target()
    archive = build.build_archive(target, SANITIZE, Path(folder))
    program = Path(folder, "check_image")
    build.run([target.cc, "-std=c11", "-g", *SANITIZE, *target.flags,
               f"-I{build.HEADER.parent}", build.ROOT / "tests" / "native" / "check_image.c",
               archive, "-pthread", "-o", program])  # fmt: skip
    return program


def damaged(data, header_bytes, rng):
    """Returns a GGUF file with a few bytes or numbers of its header changed, or cut off."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        off = rng.randrange(header_bytes - 8)
        if rng.random() < 0.5:
            data[off] = rng.randrange(256)
        else:
            width = rng.choice((4, 8))
            value = rng.choice(BOUNDARIES) % (1 << 8 * width)
            data[off : off + width] = value.to_bytes(width, "little")
    return data[: rng.randrange(len(data))] if rng.random() < 0.05 else data


def run_file(path):
    """Does with a GGUF file what `generate` does; returns whether it was accepted."""
    image = path.with_suffix(".kllm")
    try:
        pack(path, image, no_progress)
    except KllmError:
        return False
    with Model(Image(image), n_ctx=4, threads=1, n_batch=4) as model:
        with contextlib.suppress(KllmError):
            list(model.generate("the", 2, temperature=1.0))
        with contextlib.suppress(KllmError):
            model.eval([0, model.n_vocab - 1], [0, 0])
        model.sample(Sampler())
    return True


def files(paths, n_case, number):
    """Damaged GGUF files through packer and engine; returns how many were accepted."""
    rng = random.Random(number)
    n_accepted = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "case.gguf")
        originals = [(path.read_bytes(), GGUF(path).data_off) for path in paths]
        for _ in range(n_case):
            work.write_bytes(damaged(*rng.choice(originals), rng))
            n_accepted += run_file(work)
    return n_accepted


def main():
    parser = argparse.ArgumentParser(description="damaged models, for long")
    parser.add_argument("--cases", type=int, default=20_000, metavar="N", help="models in all")
    n_case = parser.parse_args().cases
    number = int(os.environ.get("SEED", "1"))
    with tempfile.TemporaryDirectory() as folder:
        pairs = make_models(folder)
        print(f"fuzz_model: {n_case // 4} damaged GGUF files", flush=True)
        n_accepted = files([gguf for gguf, _ in pairs], n_case // 4, number)
        print(f"  {n_accepted} of them run", flush=True)
        print(f"fuzz_model: {n_case} damaged images", flush=True)
        paths = [image for _, image in pairs]
        run_damaged(sanitized_program(folder), paths, n_case, number)


if __name__ == "__main__":
    sys.exit(run_command("fuzz_model", main))
