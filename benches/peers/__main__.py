# SPDX-License-Identifier: Apache-2.0
"""
The same work done by what one would take instead: `python -m benches.peers`.

llama.cpp and ik_llama.cpp for models, tokenizers, tiktoken, tokie and gigatoken for text, NumPy
for kernels. Sample beside sample in random order, the same file, the same threads, each engine in
a process of its own; a ratio of 2 says that the peer takes twice our time. A peer that is missing
is named with what installs it. docs/benchmarking.md says what each row does.
"""

import json
import os
import sys
from dataclasses import replace

# One thread each: these libraries read it when they are loaded. The engines do not get it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from benches import machine, session, stats, table
from benches.declare import Selection, UsageError
from benches.peers import kernels, models, texts
from benches.peers.contest import Verdict, hold
from benches.peers.engines import Engines
from benches.progress import progress
from benches.remote import BuildError
from benches.run import Options
from kernel_llm.errors import KllmError
from kernel_llm.terminal import Parser, run_command

SECONDS = 300.0
MODEL = "smollm2-135m"
RESIDENT = "own/resident"
RESIDENT_MOST = 5_000_000  # bytes beside image and plan
OTHERS_MOST = 0.1  # cores
STYLES = {"pass": "green", "MISS": "red"}


def parser():
    p = Parser(
        prog="python -m benches.peers", description=__doc__.strip().split("\n\n")[0],
        epilog="Exit status: 0, 2 for wrong usage, 130 if interrupted. Targets do not change it.",
    )  # fmt: skip
    p.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="ROW", help="rows or patterns"
    )
    p.add_argument("--list", action="store_true", help="name the rows and stop")
    p.add_argument("--model", default=MODEL, help=f"GGUF file or pulled name ({MODEL})")
    p.add_argument("--text", help="file to tokenize; Python's own help texts by default")
    p.add_argument("--seconds", type=float, default=SECONDS,
                   help=f"budget of the measurement ({SECONDS:g})")  # fmt: skip
    p.add_argument("--samples", type=int, default=200, help="of each row, at most (200)")
    p.add_argument("--peer", action="append", default=[], metavar="NAME=DIR",
                   help="import a peer from this folder (pip install --target)")  # fmt: skip
    p.add_argument("--json", action="store_true", help="for machines")
    return p


def main(arguments=None):
    """Holds the contests; returns the exit status."""
    return run_command("benches.peers", lambda: _run(parser().parse_args(arguments)),
                       (BuildError, UsageError))  # fmt: skip


def _run(args):
    engines = Engines(dict(_name_and_folder(text) for text in args.peer))
    try:
        return run(args, engines)
    finally:
        engines.close()


def _name_and_folder(text):
    name, _, folder = text.partition("=")
    if not folder or not os.path.isdir(folder):
        raise UsageError(f"--peer {text}: NAME=DIR with a folder that exists")
    return name, folder


def run(args, engines):
    selection = Selection(only=tuple(args.only))
    options = Options(samples=args.samples, seconds=args.seconds)
    missing = {}
    declared = _declared(args, engines, missing)
    rows = [c.key for c in declared] + [RESIDENT] * ("models" not in missing)
    if nothing := selection.unmatched(rows):
        reasons = [f"; {kind}: {missing[kind]}" for kind in ("models", "text") if kind in missing]
        raise UsageError(f"no row matches {nothing}; see --list" + "".join(reasons))
    declared = [c for c in declared if selection.wants(c.key)]
    wants_resident = RESIDENT in rows and selection.wants(RESIDENT)
    if args.list:
        for text in [c.key for c in declared] + [RESIDENT] * wants_resident:
            _say(text)
        for name, why in missing.items():
            _say(f"skipped: {name}: {why}")
        return 0
    before, cpu_before = machine.conditions(), session.cpu_seconds()
    outcomes, is_whole = [], True
    total = sum(c.weight for c in declared)
    done = 0.0
    for contest in declared:
        share = contest.weight / total
        part = replace(options, seconds=options.seconds * share)
        outcome = _held(contest, part, engines, done / total, share)
        if outcome is None:
            is_whole = False
            break
        done += contest.weight
        outcomes.append(outcome)
        if not args.json:
            for text, style in lines(outcome):
                _say(text, style)
    resident = None
    if wants_resident and is_whole:
        try:
            resident = models.resident(_model_path(args), engines)
        except BuildError as error:
            missing[RESIDENT] = str(error)
    engines.close()
    own_seconds = session.cpu_seconds() - cpu_before
    others = machine.others_share(before, machine.conditions(), own_seconds)
    if args.json:
        _say(json.dumps(_as_dict(outcomes, resident, engines, missing) | {"others": others}))
    else:
        _tell(outcomes, resident, engines, missing)
        if others is not None and others > OTHERS_MOST:
            _say(f"other programs used {others:.1f} cores meanwhile: do not trust this", "red")
    return 0 if is_whole else 130


def _declared(args, engines, missing):
    """Returns the Contests of all kinds; missing receives why a kind is left out."""
    out = []
    try:
        out += models.contests(_model_path(args), engines)
    except OSError as error:
        missing["models"] = str(error.strerror or error)
    try:
        vocab = texts.vocab_path(args.model)
        text = texts.sample(args.text)
        out += texts.contests(vocab, text, engines, missing)
    except KllmError as error:
        missing["text"] = str(error)
    return out + kernels.contests()


def _model_path(args):
    from kernel_llm.pull import resolve

    return resolve(args.model)


def _held(contest, options, engines, start, share):
    """Returns the Outcome, or None if Ctrl-C ended it."""
    try:
        with progress() as show:

            def part(done, total, key):
                show(start + share * min(1.0, done / max(total, 1)), 1.0, key)

            outcome = hold(contest, options, part)
        engines.free()
        return outcome
    except KeyboardInterrupt:
        return None


# ------------------------------------------------------------------------------------- showing


def lines(outcome):
    """Yields (text, style) of one contest: a line for each side."""
    contest, verdicts = outcome.contest, {v.against: v for v in outcome.verdicts()}
    key = contest.key
    for name, seconds in outcome.seconds.items():
        s = stats.summary(seconds)
        rate = "" if contest.unit == "op" else f"{contest.per / s.median:.4g} {contest.unit}/s"
        ratio = outcome.ratio(name)
        cells = f"{key:24} {name:16} {rate:>13} {table.quantity(s.median):>7}"
        if ratio:
            cells += f" {ratio.point:7.2f}x {ratio.lo:7.2f} … {ratio.hi:<6.2f}"
        verdict = verdicts.get("" if name == outcome.first else name)
        if verdict:
            cells = f"{cells:84} {verdict.target:>8} {_word(verdict)}"
        yield cells.rstrip(), STYLES.get(_word(verdict), "") if verdict else ""
        key = ""
    for name, why in outcome.missing.items():
        yield f"{key:24} {name:16} {why}"[:160], ""
        key = ""


def _word(verdict):
    return "pass" if verdict.is_met else "MISS"


def _tell(outcomes, resident, engines, missing):
    """Prints what is below the rows: memory, settings, who is missing, what is missed."""
    verdicts = [v for outcome in outcomes for v in outcome.verdicts()]
    if resident:
        verdict = _resident_verdict(resident)
        verdicts.append(verdict)
        image, plan = resident["image"] / 1e6, resident["plan"] / 1e6
        text = (f"{RESIDENT:24} grown by {resident['grown'] / 1e6:.1f} MB, "
                f"image {image:.1f} + plan {plan:.1f}")  # fmt: skip
        _say(f"{text:84} {verdict.target:>8} {_word(verdict)}", STYLES[_word(verdict)])
    f = machine.fingerprint()
    _say("")
    versions = "".join(f", {name} {version}" for name, version in engines.versions.items())
    _say(f"{f['cpu']} ({f['arch']}), {f['cores']} cores{versions}")
    for text in _settings(outcomes):
        _say(text)
    for name, why in missing.items():
        _say(f"skipped: {name}: {why}")
    if missed := [f"{v.key} {v.against}".rstrip() for v in verdicts if not v.is_met]:
        _say(f"missed: {', '.join(missed)}", "red")
    if verdicts:
        _say(f"{len(verdicts) - len(missed)} of {len(verdicts)} targets met")


def _resident_verdict(resident):
    beside = resident["grown"] - resident["image"] - resident["plan"]
    return Verdict(
        RESIDENT, "", f"≤ +{RESIDENT_MOST // 10**6} MB", beside, beside <= RESIDENT_MOST
    )


def _settings(outcomes):
    """Yields, for each peer, the settings that served it best and where."""
    found = {}
    for outcome in outcomes:
        for name, told in outcome.told.items():
            if told:
                found.setdefault((name, told), []).append(outcome.contest.key)
    for (name, told), keys in found.items():
        yield f"{name} was fastest with {told}: {', '.join(keys)}"


def _as_dict(outcomes, resident, engines, missing):
    return {"machine": machine.fingerprint(), "versions": engines.versions, "missing": missing,
            "resident": resident, "contests": [o.as_dict() for o in outcomes]}  # fmt: skip


def _say(text, style=""):
    if style and sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False).print(Text(text, style=style), soft_wrap=True)
    else:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
