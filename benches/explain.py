# SPDX-License-Identifier: Apache-2.0
"""What rows there are, and what each does: --list and --explain."""

import textwrap

from benches import table


def brief(benches):
    """Yields a line for each table row: its key, the code it is measured with, its target."""
    for key, found in _by_key(benches).items():
        parts = key.split("/")
        codes = [part for b in found for part in b.id.split("/") if part not in parts]
        yield f"{key:32} {' '.join(codes):20} {_target(found[0])}".rstrip()


def full(benches):
    """Yields all there is to say about each table row."""
    for key, found in _by_key(benches).items():
        first = found[0]
        yield ", ".join(filter(None, (key, _target(first))))
        yield textwrap.fill(first.explain, 96, initial_indent="  ", subsequent_indent="  ")
        for name in ("flop", "byte"):
            if name in first.work:
                yield f"  {first.work[name]:,} {name}s an operation"
        yield "  measured as " + ", ".join(b.id for b in found)


def _by_key(benches):
    out = {}
    for bench in benches:
        out.setdefault(bench.key, []).append(bench)
    return out


def _target(bench):
    seconds = bench.seconds_target
    return "" if seconds is None else f"target {table.quantity(seconds)}"
