# SPDX-License-Identifier: Apache-2.0
"""
Links the bare-metal images: build/aarch64-none/<image>-<model>.elf.

    python -m qemu.build IMAGE [MODEL] [--ram MIB] [--ctx N] [--isa ISA]

IMAGE: selftest, generate, encode or bench. MODEL: a .kllm image, a GGUF file or a pulled name; the
smallest model of the tests by default. Sources and flags of the core come from native/build.py.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "native")]

import build as core  # noqa: E402  (native/build.py)
from kernel_llm.terminal import Parser, positive, run_command  # noqa: E402

QEMU = ROOT / "qemu"
N_BATCH = 32
N_CTX = 256
RAM_MIB = 512
TEXT = ROOT / "LICENSE"  # English that is always there
IMAGES = {
    "selftest": ["image_selftest.c", "selftest_kernels.c"],
    "generate": ["image_generate.c"],
    "encode": ["image_encode.c", "text.S"],
    "bench": ["image_bench.c"],
}
FLOOR = "neon"
# The best kernels of an image: all of it is compiled for their instruction set.
TARGETS = {FLOOR: "aarch64-none", "neon_dotprod": "aarch64-none_dotprod",
           "neon_i8mm": "aarch64-none_i8mm"}  # fmt: skip
COMMON = ["start.S", "console.c", "mem.c", "model.c", "model.S"]
# Loops that copy bytes must not become calls of the function they stand in.
MEM_FLAGS = ["-fno-tree-loop-distribute-patterns"]


class DoesNotFit(Exception):
    """The image needs more memory than the machine has; the message has the numbers."""


def target(isa=FLOOR):
    """Returns the bare-metal target of native/build.py for an instruction set."""
    return core.targets()[TARGETS[isa]]


def tiny_model():
    """Returns the path of a small seeded model image, made if need be."""
    sys.path[:0] = [str(ROOT / "tests")]
    from make_data import make_llama

    path = target().build_dir / "tiny.gguf"
    if core.is_stale(path, [ROOT / "tests" / "make_data.py"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        make_llama(path, dtype="q4_0")
    return packed(path)


def packed(model):
    """Returns the path of the image of a model, a file or a pulled name; KllmError, OSError."""
    from kernel_llm.opening import open_image
    from kernel_llm.pull import resolve

    image = open_image(resolve(model))
    image.close()
    return Path(image.path)


def arena_bytes(model, n_ctx):
    """Returns the bytes of arena that a model image needs on one core, as the host plans them."""
    from kernel_llm import _native_cffi  # noqa: F401 (the core's twin plans another arena)
    from kernel_llm.opening import plan_of

    plan, _ = plan_of(str(model), n_ctx=n_ctx, n_batch=N_BATCH, threads=1, kv="f16")
    return plan.n_bytes


def compile_file(name, out_dir, isa, defines):
    """Compiles one source of an image; returns the object."""
    source = QEMU / name
    obj = out_dir / (source.stem + ("_asm.o" if source.suffix == ".S" else ".o"))
    flags = core.flags_of(target(isa), source) + (MEM_FLAGS if name == "mem.c" else [])
    flags += ["-fcallgraph-info=su", f"-I{core.SOURCES}", f"-I{QEMU}", *defines]
    core.run([target().cc, *flags, "-c", source, "-o", obj])
    return obj


def link(image, model, ram_mib=RAM_MIB, n_ctx=N_CTX, isa=FLOOR, text=TEXT):
    """
    Links an image with a model and returns the path of the ELF file.

    image: a key of IMAGES. model: path of a model image. ram_mib: memory of the machine. isa: a
    key of TARGETS; the floor leaves out kernels above it. text: path of what "encode" encodes.
    Raises DoesNotFit with the linker's numbers if they do not fit together.
    """
    out_dir = target(isa).build_dir / f"{image}-{Path(model).stem}-{n_ctx}"
    out_dir.mkdir(parents=True, exist_ok=True)
    archive = core.build_archive(target(isa), ["-fcallgraph-info=su"])
    defines = [
        f'-DMODEL_PATH="{model}"',
        f"-DIMAGE_N_CTX={n_ctx}",
        f"-DIMAGE_N_BATCH={N_BATCH}",
        f'-DIMAGE_ISA="{isa}"',
        f'-DTEXT_PATH="{text}"',
        f"-DIMAGE_TEXT_BYTES={Path(text).stat().st_size}u",
    ]
    objects = [compile_file(name, out_dir, isa, defines) for name in [*COMMON, *IMAGES[image]]]
    elf = out_dir.with_suffix(".elf")
    n_arena = arena_bytes(model, n_ctx)
    command = [
        target().cc, "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--gc-sections",
        "-Wl,-z,max-page-size=4096", "-Wl,--no-warn-rwx-segments", f"-Wl,-T,{QEMU / 'virt.ld'}",
        f"-Wl,--defsym=RAM_BYTES={ram_mib << 20}", f"-Wl,--defsym=ARENA_BYTES={n_arena}",
        *objects, archive, "-o", elf,
    ]  # fmt: skip
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if "overflowed" in result.stderr:
        n_model = Path(model).stat().st_size
        raise DoesNotFit(
            f"the model does not fit {ram_mib} MiB: image {n_model} bytes, arena {n_arena} bytes; "
            + re.search("region .* overflowed by .*", result.stderr)[0]
        )
    if result.returncode != 0:
        sys.exit(" ".join(str(c) for c in command) + "\n" + result.stderr)
    return elf


def main():
    from qemu.tools import require

    parser = Parser(prog="python -m qemu.build", description="links a bare-metal image")
    parser.add_argument("image", choices=sorted(IMAGES))
    parser.add_argument("model", nargs="?")
    parser.add_argument("--ram", type=positive, default=RAM_MIB, metavar="MIB")
    parser.add_argument("--ctx", type=positive, default=N_CTX, metavar="N")
    parser.add_argument("--isa", choices=TARGETS, default=FLOOR, help="of the best kernels")
    args = parser.parse_args()
    require("aarch64-linux-gnu-gcc")
    model = tiny_model() if args.model is None else packed(args.model)
    print(link(args.image, model, args.ram, args.ctx, args.isa).relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(run_command("qemu.build", main, (DoesNotFit,)))
