# SPDX-License-Identifier: Apache-2.0
"""
Compiles every module that MicroPython shares with mpy-cross, as `make lint` does.

    python tests/compile_mpy.py [FOLDER]     FOLDER keeps the .mpy files, a tree to import from
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import ROOT
from test_rules import SHARED_MODULES


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
