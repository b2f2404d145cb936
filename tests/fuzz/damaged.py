"""Runs a program of tests/native that damages copies of a file under the sanitizers."""

import subprocess
import sys


def run_damaged(program, paths, n_case, number):
    """Damages n_case copies in all; exits with the program's words at the first fault."""
    for path in paths:
        command = [program, path, str(n_case // len(paths)), str(number)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"SEED={number} {path.name}: {done.stderr[:4000]}")
        print("  " + done.stdout.strip(), flush=True)
