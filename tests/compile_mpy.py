# SPDX-License-Identifier: Apache-2.0
"""
Compiles every module that MicroPython shares with mpy-cross, as `make lint` does.

    python tests/compile_mpy.py [FOLDER]     FOLDER keeps the .mpy files, a tree to import from
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kernel_llm", "arena", "tokenizer")
# CPython only: they pack, fetch, draw or talk to people.
CPYTHON_ONLY = {
    "__main__.py", "_native_cffi.py", "builtin.py", "commands.py", "files.py",
    "layout.py", "opening.py", "pack.py", "progress.py", "pull.py", "quantize.py",
    "terminal.py", "weights.py",
}  # fmt: skip
CPYTHON_ONLY_FOLDERS = {"kernel_llm/data", "kernel_llm/tokenizer"}
SHARED_MODULES = [
    path
    for folder in PACKAGES
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name not in CPYTHON_ONLY
    and str(path.parent.relative_to(ROOT)) not in CPYTHON_ONLY_FOLDERS
]


def compile_modules(folder):
    """Writes the .mpy of each shared module below folder; returns what mpy-cross had against."""
    complaints = []
    for path in SHARED_MODULES:
        output = Path(folder) / path.relative_to(ROOT).with_suffix(".mpy")
        output.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "mpy_cross", "-o", output, "-s", path.relative_to(ROOT), path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            complaints.append(done.stdout + done.stderr)
    return complaints


if __name__ == "__main__":
    if len(sys.argv) > 1:
        found = compile_modules(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = compile_modules(folder)
    sys.exit("".join(found) or None)
