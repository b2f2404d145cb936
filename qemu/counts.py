# SPDX-License-Identifier: Apache-2.0
"""
The figures of the images that are the same on every machine, as a run of the benchmark suite:
instructions of the bench image (clock "insn"), bytes of code, data and stack.
"""

import datetime
import subprocess

from benches.result import Row, Run
from qemu import build, elf

ENTRIES = {"selftest": "image_main", "generate": "image_main"}


def compiler():
    """Returns name and version of the cross compiler: sizes are compared only under it."""
    version = subprocess.run([build.target().cc, "-dumpfullversion"], capture_output=True,
                             text=True, check=True).stdout.strip()  # fmt: skip
    return f"gcc-{version}"


def parse_counts(text):
    """Returns {name: instructions} from the lines "count NAME INSTRUCTIONS" of the bench image."""
    rows = (line.split() for line in text.splitlines() if line.startswith("count "))
    return {name: int(count) for _, name, count in rows}


def count_rows(counts, model_hash=""):
    """Returns the Rows of {cpu: {name: instructions}}; model rows carry the model's hash."""
    return [
        Row(f"{cpu}/{name}", (value,), unit="instruction", key=f"{cpu}/{name}",
            model_hash=model_hash if name.startswith("model/") else "")
        for cpu, table in counts.items()
        for name, value in table.items()
    ]  # fmt: skip


def size_rows(images):
    """Returns the Rows of {image: path of its ELF file}: sections and worst stack in bytes."""
    rows = []
    for image, path in images.items():
        figures = {f"size{name.replace('.', '/')}": n for name, n in elf.sizes(path).items()}
        if image in ENTRIES:
            figures["stack"] = elf.worst_stack(elf.graph_files(path), ENTRIES[image])[0]
        for name, n_bytes in figures.items():
            row_id = f"bare/{image}/{name}/{compiler()}"
            rows.append(Row(row_id, (n_bytes,), unit="byte", key=row_id))
    return rows


def run_of(rows, **conditions):
    """Returns the suite's Run of exact rows; conditions: what else is said of it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return Run(rows, {"clock": "insn", "arch": "aarch64"}, {"compiler": compiler(), **conditions},
               now.strftime("%Y-%m-%dT%H:%M:%SZ"))  # fmt: skip
