"""
Proves properties of the core with the bounded model checker CBMC: `make prove`.

    python tests/proof/prove.py [PROOF ...]     all of PROOFS, or those named

A proof holds for every value of every variable, not for the ones a test tries. CBMC is the one of
the machine, or Debian 13's, unpacked without root (qemu/sysroot.py).
"""

import platform
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

PROOF = Path(__file__).resolve().parent
ROOT = PROOF.parents[1]
sys.path.insert(0, str(ROOT))

# no_wrap: not even unsigned numbers wrap; n_case: so many runs, each of one CASE
Proof = namedtuple("Proof", "file no_wrap n_case", defaults=[1])

PROOFS = {
    "prove_init": Proof("prove_arena.c", True),
    "prove_alloc": Proof("prove_arena.c", False),
    "prove_alloc_is_complete": Proof("prove_arena.c", False),
    "prove_release": Proof("prove_arena.c", True),
    "prove_tensor_bytes": Proof("prove_image.c", True),
    "prove_tensor": Proof("prove_image.c", True),
    "prove_header": Proof("prove_image.c", False),
    "prove_places": Proof("prove_vocab.c", False, 18),
    "prove_kv_shape": Proof("prove_attention.c", True),
    "prove_work": Proof("prove_attention.c", True),
    "prove_plan": Proof("prove_plan.c", True),
}
CHECKS = ("--bounds-check", "--pointer-check", "--signed-overflow-check",
          "--undefined-shift-check", "--div-by-zero-check", "--unwinding-assertions",
          "--unwind", "24")  # fmt: skip


def find_cbmc():
    """Returns the words that start CBMC; raises qemu.sysroot.NoSysroot where it cannot be had."""
    found = shutil.which("cbmc")
    if found:
        return [found]
    from qemu import sysroot

    arch = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    return sysroot.command_line(sysroot.make_sysroot(arch, "cbmc"), ["cbmc"], arch)


def run(cbmc, name, sources=ROOT / "native" / "src"):
    """
    Tries a proof of the core whose C files lie in sources.

    Returns the properties that do not hold, as CBMC names them: none where all is proved.
    """
    proof = PROOFS[name]
    command = [*cbmc, PROOF / proof.file, "--function", name, *CHECKS, "-I", sources,
               "-I", ROOT / "native" / "include", "-I", ROOT / "native" / "src",
               f"-DCASES={proof.n_case}"]  # fmt: skip
    if proof.no_wrap:
        command.append("--unsigned-overflow-check")
    return [
        line for case in range(proof.n_case) for line in _failures([*command, f"-DCASE={case}"])
    ]


def _failures(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode == 0:
        return []
    failed = [line for line in done.stdout.splitlines() if line.endswith(": FAILURE")]
    if done.returncode != 10 or not failed:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return failed


def main():
    cbmc = find_cbmc()
    status = 0
    for name in sys.argv[1:] or PROOFS:
        started = time.monotonic()
        failed = run(cbmc, name)
        status |= bool(failed)
        verdict = "FAILED" if failed else "proved"
        print(f"{verdict}  {name:26} {time.monotonic() - started:6.1f} s", flush=True)
        for line in failed:
            print("  " + line)
    return status


if __name__ == "__main__":
    from kernel_llm.terminal import run_command
    from qemu.sysroot import NoSysroot

    sys.exit(run_command("prove", main, (NoSysroot,)))
