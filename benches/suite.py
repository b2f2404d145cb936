# SPDX-License-Identifier: Apache-2.0
"""
The benchmark suite.

    python -m benches.suite --simd                     the table
    python -m benches.suite --simd --baseline baseline.json --gate
    python -m benches.suite --against main             this tree against a revision, in pairs
    python -m benches.suite compare A.json B.json

docs/benchmarking.md says how it measures and what the verdicts mean.
"""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

from benches import against, explain, export, gate, machine, page, plot, session, table
from benches.declare import Selection, UsageError, collect
from benches.progress import progress
from benches.result import ResultError, Run, load, record, save
from benches.run import QUICK, Options
from kernel_llm.files import check_writable
from kernel_llm.terminal import Parser, run_command

SECONDS = 40.0


def parser():
    p = Parser(
        prog="python -m benches.suite", description=__doc__.split("\n\n")[0],
        epilog="python -m benches.suite compare A.json B.json: ratios of two result files. "
        "Exit status: 0 pass, 1 regression, 2 wrong usage or file, 3 inconclusive, "
        "4 not comparable.",
    )  # fmt: skip
    what = p.add_argument_group("what to measure")
    what.add_argument("--simd", action="store_true", help="the best code beside the portable one")
    what.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="ROW", help="rows or patterns"
    )
    what.add_argument("--model", default="", help="also this model: a path or a pulled name")
    what.add_argument("--full", action="store_true", help="every size in every type of weights")
    what.add_argument("--file", action="append", default=[], help="benchmarks of your own")
    how = p.add_argument_group("how to measure")
    how.add_argument("--quick", action="store_true", help="for a look: few samples, "
                     "and with --simd no portable code of whole models")  # fmt: skip
    how.add_argument("--seconds", type=float, help=f"budget of the measurement ({SECONDS:g})")
    how.add_argument("--samples", type=int, help="of each row (1000)")
    how.add_argument("--warmup", type=int, help="samples thrown away, at least (100)")
    how.add_argument("--slow", type=float, default=0.0, metavar="PERCENT",
                     help="hold the rows up by so much, to try the gate")  # fmt: skip
    how.add_argument("--slow-only", default="*", metavar="PATTERN", help="the rows it applies to")
    show = p.add_argument_group("what to show")
    show.add_argument("--json", action="store_true", help="the results as JSON instead of a table")
    show.add_argument("--out", type=Path, help="where to keep the results (build/bench/last.json)")
    show.add_argument("--export", action="append", default=[], metavar="FORMAT=FILE",
                      help="one of " + ", ".join(export.FORMATS))  # fmt: skip
    show.add_argument("--plot", type=Path, help="distributions as an image (PNG, SVG, PDF)")
    show.add_argument("--html", type=Path, help="a page that holds everything")
    show.add_argument("--history", nargs="*", default=[], type=Path, metavar="FILE",
                      help="earlier result files, for --plot and --html")  # fmt: skip
    show.add_argument("--list", action="store_true", help="name the rows and stop")
    show.add_argument("--explain", metavar="ROW", help="what a row does, its formula, its limit")
    judge = p.add_argument_group("how to judge")
    judge.add_argument("--baseline", type=Path, help="accepted results, to compare with")
    judge.add_argument("--gate", action="store_true", help="fail where a row regressed")
    judge.add_argument("--record", action="store_true", help="put the results into the baseline")
    judge.add_argument("--against", metavar="REF", help="measure a git revision beside this tree")
    return p


def main(arguments=None):
    """Runs the suite; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return run_command("benches.suite", lambda: _run(arguments),
                       (ResultError, against.BuildError, UsageError))  # fmt: skip


def _run(arguments):
    if arguments[:1] == ["compare"]:
        return compare_files(arguments[1:])
    return run(parser().parse_args(arguments))


def run(args):
    if (args.gate or args.record) and not args.baseline and not args.against:
        raise UsageError("--gate and --record need --baseline FILE")
    selection = Selection(simd=args.simd or bool(args.against), full=args.full, quick=args.quick,
                          model=args.model, only=tuple(args.only), files=tuple(args.file)
                          )  # fmt: skip
    writers = [export.target(text) for text in args.export]
    if args.explain:
        selection = replace(selection, only=(args.explain,), full=True)
    if args.list or args.explain:
        selection = replace(selection, simd=True)
    benches, skipped = collect(selection)
    if args.list or args.explain:
        return print_rows(benches, skipped, explain.full if args.explain else explain.brief)
    options = chosen(args)
    out = args.out or machine.work_dir() / "last.json"
    check_outputs(args, out, writers)
    history = [r for path in args.history for r in load(path)]
    runs = load(args.baseline) if is_baseline_read(args) else []
    said = sys.stderr if args.json else sys.stdout
    if args.gate and not args.record and not args.against:
        wall = Run((), machine.fingerprint())
        if gate.baseline_of(runs, wall)[0] is None:  # said before anything is measured
            return tell(gate.gate(runs, wall, None), said)
    if args.against:
        return run_against(args, benches, selection, options)
    with progress() as show:
        report = session.take(benches, selection, options, skipped, show)
    if not report.run.rows and report.failed:
        raise UsageError(f"{report.failed[0].key}: {report.failed[0].reason}")
    if not report.run.rows:
        raise KeyboardInterrupt  # before anything was measured
    save(out, [report.run])
    for form, path in writers:
        export.write(form, path, report)
    if args.plot:
        plot.plot(args.plot, report.run, history)
    if args.html:
        page.write(args.html, report, history)
    if args.json:
        sys.stdout.write(out.read_text())
    else:
        print_table(report)
        print_line(f"results: {out}")
    return finish(args, report, runs, _again(runs, benches, selection, options), said)


def check_outputs(args, out, writers):
    """
    Raises UsageError, ResultError or OSError, before anything is measured, if results could not be
    shown and kept as asked.
    """
    if args.against:
        for name in ("json", "html", "plot", "export", "record", "baseline"):
            if getattr(args, name):
                raise UsageError(f"--against prints ratios of two builds: it takes no --{name}")
    if args.plot:
        plot.check(args.plot)
    recorded = args.baseline if args.record else None
    for path in (out, args.html, args.plot, recorded, *(path for _, path in writers)):
        if path:
            check_writable(path)


def is_baseline_read(args):
    """Tells whether the baseline must be there, and sound, before anything is measured."""
    is_made = args.record and not args.gate and not args.baseline.exists()
    return args.baseline and not is_made


def finish(args, report, runs, again, said):
    """Compares, gates and records, where asked; returns the exit status."""
    status = gate.PASS if report.is_whole else 130
    if report.is_whole and report.failed:
        status = gate.USAGE
    if args.gate:
        status = tell(gate.gate(runs, report.run, again), said) or status
    elif args.baseline and not args.record:
        print_comparison(runs, report.run, said)
    if args.record and report.is_whole and status in (gate.PASS, gate.NOT_COMPARABLE):
        record(args.baseline, report.run)
        print_line(f"recorded in {args.baseline}", said)
        status = gate.PASS
    return status


def print_comparison(runs, current, said):
    """Prints the ratios to the run of the same machine among runs; judges nothing."""
    base, fields = gate.baseline_of(runs, current)
    if base is None:
        print_line(gate.why_not(fields), said)
        return
    for text in gate.lines(gate.compare(base, current)):
        print_line(text, said)


def _again(runs, benches, selection, options):
    """Returns what measures some rows once more, beside the stored baseline."""

    def measure_again(ids):
        wanted = set(ids) | {gate.CONTROL}
        some = [b for b in benches if b.id in wanted]
        options_again = replace(options, seed=options.seed + 1)
        if options.seconds:
            seconds = max(5.0, 2 * options.seconds * len(some) / len(benches))
            options_again = replace(options_again, seconds=seconds)
        print_line(f"measuring {len(ids)} row(s) again", sys.stderr)
        with progress() as show:
            report = session.take(some, selection, options_again, progress=show, count=False)
        base, _ = gate.baseline_of(runs, report.run)
        kept = [row for row in base.rows if row.id in wanted]
        return replace(base, rows=tuple(kept)), report.run

    return measure_again


def run_against(args, benches, selection, options):
    """Measures this tree and a revision in pairs; returns the exit status."""
    with progress() as show:
        base, current, again = against.measure(args.against, benches, selection, options, show)
    try:
        if args.out:
            save(args.out, [base, current])
        for row, text in again.missing.items():
            print_line(f"not measured: {row}: {text}")
        return tell(gate.gate([base], current, again), sys.stdout, print_all=True)
    finally:
        again.close()


def tell(outcome, said, print_all=False):
    """Prints the outcome of a gate to a stream; returns the exit status."""
    for text in gate.lines(
        v
        for v in outcome.verdicts
        if print_all or v.why or v.verdict not in (gate.SAME, gate.GONE)
    ):
        print_line(text, said)
    line = textwrap.fill(outcome.line, table.WIDTH, subsequent_indent="  ",
                         break_on_hyphens=False, break_long_words=False)  # fmt: skip
    print_line(line, said)
    return outcome.status


def compare_files(arguments):
    """compare A.json B.json: the last run of each; exit status as the gate's, without a rerun."""
    p = Parser(prog="python -m benches.suite compare")
    p.add_argument("base", type=Path)
    p.add_argument("current", type=Path)
    args = p.parse_args(arguments)
    a, b = load(args.base), load(args.current)
    if not a or not b:
        raise ResultError(f"{args.base if not a else args.current}: holds no run")
    current = b[-1]
    base, _ = gate.baseline_of(a, current)
    if base is None:
        print_line(gate.check_comparable(a[-1], current))
        return gate.NOT_COMPARABLE
    verdicts = gate.compare(base, current)
    for text in gate.lines(verdicts):
        print_line(text)
    slower = [v.id for v in verdicts if v.verdict == gate.SLOWER]
    return gate.REGRESSION if slower else gate.PASS


def chosen(args):
    """Returns the Options of the command line; raises UsageError."""
    options = QUICK if args.quick else Options(seconds=SECONDS)
    given = {name: getattr(args, name) for name in ("seconds", "samples", "warmup")}
    given = {name: value for name, value in given.items() if value is not None}
    return replace(options, **given, slow=args.slow, slow_only=args.slow_only)


def print_rows(benches, skipped, tell_of):
    """Prints what tell_of, of explain.py, says of the rows, and which are skipped."""
    for text in tell_of(benches):
        print_line(text)
    for skip in skipped:
        print_line(f"{skip.key:32} skipped: {skip.reason}")
    return gate.PASS


def print_table(report):
    """Prints the table, in colour on a terminal only."""
    styles = {"head": "bold", "good": "green", "bad": "red"}
    if not sys.stdout.isatty():
        for text, _ in table.render(report):
            print_line(text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(width=max(table.WIDTH, 100), highlight=False)
    for text, style in table.render(report):
        console.print(Text(text, style=styles.get(style, "")), soft_wrap=True)


def print_line(text, file=None):
    (file or sys.stdout).write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
