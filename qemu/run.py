# SPDX-License-Identifier: Apache-2.0
"""
Runs bare-metal images on an emulated board.

    python -m qemu.run [--cpu CPU] [--model MODEL] [--json FILE]
                       [--baseline FILE [--gate] [--record]]

Links the selftest, generate and bench images and runs each on cortex-a53 and cortex-a72. The
generated text and the checksum of every row of logits must be the host's. Instruction counts, code
sizes and stack go to a result file of the benchmark suite; --gate compares them with a baseline:
more than 1 % is told, more than 10 % fails, a byte more fails. Exit status 1 if anything differs.
"""

import hashlib
import sys
from pathlib import Path

from benches import gate
from benches.result import ResultError, load, record, save
from kernel_llm.builtin import builtin_path
from kernel_llm.files import check_writable
from kernel_llm.terminal import Parser, positive, run_command
from qemu import build, counts, mix, tools
from qemu.board import CPUS, PROMPT, QEMU, Hung, last_line, run_elf

ABOVE = {"cortex-a76": "neon_dotprod", "max": "neon_i8mm"}  # cores with more than the floor
RESULT = build.ROOT / "build" / "aarch64-none" / "insn.json"


def host_lines(model, n_token, prompt):
    """Returns what the generate image must print for a model, computed by this machine."""
    from kernel_llm import _native as native
    from kernel_llm.image import Image
    from kernel_llm.model import Model
    from kernel_llm.sampler import Sampler

    lines, ids = [], []
    with Model(Image(model), n_ctx=build.N_CTX, threads=1, n_batch=build.N_BATCH) as m:
        m.prefill(m.encode(prompt))
        sampler = Sampler(top_k=0, top_p=1.0, min_p=0.0)
        for i in range(n_token):
            token = m.sample(sampler)
            crc = native.kllm_crc32(0, native.pointer(m.logits()), 4 * m.n_vocab) & 0xFFFFFFFF
            lines.append(f"logits {crc:08x} token {token}")
            ids.append(token)
            if i + 1 < n_token:
                m.step(token)
        return lines, m.encoder.decode_bytes(ids)


def check_generate(model, cpu, ram_mib, n_token, prompt):
    """Returns an error message, or "" if the image prints the host's logits and text."""
    elf = build.link("generate", model, ram_mib)
    status, output = run_elf(elf, cpu, ram_mib, (str(n_token), prompt))
    lines, text = host_lines(model, n_token, prompt)
    found = [line for line in output.decode("utf-8", "replace").splitlines()
             if line.startswith("logits ")]  # fmt: skip
    if status != 0:
        return f"exit status {status}: {last_line(output)}"
    if found != lines:
        at = next((i for i, (a, b) in enumerate(zip(found, lines, strict=False)) if a != b),
                  min(len(found), len(lines)))  # fmt: skip
        return f"token {at}: image {found[at : at + 1]}, host {lines[at : at + 1]}"
    return "" if output.split(b"text: ", 1)[1] == text + b"\n" else "the texts differ"


def count(model, cpu, ram_mib, qemu=QEMU):
    """
    Returns {name: instructions} of the bench image; they must be the same twice.

    On a core of ABOVE: of the kernels that are faster there, and of tokens with them.
    """
    elf = build.link("bench", model, ram_mib, isa=ABOVE.get(cpu, build.FLOOR))
    runs = []
    for _ in range(2):
        status, output = run_elf(elf, cpu, ram_mib, is_counted=True, limit_s=600, qemu=qemu)
        if status != 0:
            sys.exit(f"bench on {cpu}: exit status {status}: {last_line(output)}")
        runs.append(counts.parse_counts(output.decode()))
    if runs[0] != runs[1]:
        sys.exit(f"bench on {cpu}: two runs gave different counts:\n{runs[0]}\n{runs[1]}")
    return runs[0]


def print_counts(table):
    """Prints {cpu: {name: instructions}}, one column a core."""
    cpus = list(table)
    print(f"{'instructions':44}" + "".join(f"{cpu:>14}" for cpu in cpus))
    for name in table[cpus[0]]:
        print(f"{name:44}" + "".join(f"{table[cpu][name]:14,}" for cpu in cpus))


def judge(result, runs, args):
    """
    Compares a run with those of the baseline, prints what is said, and returns the exit status.

    A baseline without counts (before the first --record) is told and is no failure.
    """
    outcome = gate.gate(runs, result, None)
    for line in gate.lines(v for v in outcome.verdicts if v.why or v.verdict != gate.SAME):
        print(line)
    print(outcome.line)
    status = outcome.status if args.gate else gate.PASS
    if status == gate.NOT_COMPARABLE and not any(run.clock == "insn" for run in runs):
        status = gate.PASS
    if args.record and status in (gate.PASS, gate.NOT_COMPARABLE):
        record(args.baseline, result)
        status = gate.PASS
    return status


def run_board(cpu, tiny, model, args):
    """Runs selftest and generate on a core, prints what came of it; says whether all is right."""
    status, output = run_elf(build.link("selftest", tiny), cpu)
    print(f"{cpu}: {last_line(output)}")
    error = check_generate(model, cpu, args.ram, args.tokens, args.prompt)
    print(f"{cpu}: generate: " + (error or "the host's text and logits, to the bit"), flush=True)
    return status == 0 and not error


def kinds_of_instructions(model, cpu, ram_mib, prompt):
    """Returns what a result says of the kinds of a token's instructions, and one line on them."""
    try:
        found = mix.total(mix.token_mix(model, cpu, 4, prompt, ram_mib))
    except mix.NoMix as error:
        return {"error": str(error)}, f"kinds of instructions not counted: {error}"
    told = {"cpu": cpu, "instructions": found.n, "simd_share": round(found.simd_share, 4)}
    return told, mix.share_line(cpu, found)


def parse_arguments():
    parser = Parser(prog="python -m qemu.run", description="runs the bare-metal images under QEMU")
    parser.add_argument("--cpu", action="append", choices=CPUS, help="default: both")
    parser.add_argument(
        "--model", help="image, GGUF file or pulled name; default: the one in the box"
    )
    parser.add_argument("--ram", type=positive, default=build.RAM_MIB, metavar="MIB")
    parser.add_argument("--tokens", type=positive, default=48)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE")
    parser.add_argument("--baseline", type=Path, metavar="FILE")
    parser.add_argument("--gate", action="store_true", help="fail where a count grew")
    parser.add_argument("--record", action="store_true", help="put the counts into the baseline")
    args = parser.parse_args()
    if not args.prompt:
        parser.error("--prompt is empty")
    if (args.gate or args.record) and not args.baseline:
        parser.error("--gate and --record need --baseline FILE")
    return args


def main():
    args = parse_arguments()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    for path in (args.json, args.baseline if args.record else None):
        if path:
            check_writable(path)
    is_new = args.record and not args.baseline.exists()
    runs = load(args.baseline) if args.baseline and not is_new else []
    tools.require("aarch64-linux-gnu-gcc", "qemu-system-aarch64")
    is_good = True
    tiny = build.tiny_model()
    model = build.packed(args.model or builtin_path("q4_0"))
    table = {}
    for cpu in args.cpu or CPUS:
        is_good = run_board(cpu, tiny, model, args) and is_good
        table[cpu] = count(model, cpu, args.ram)
    print_counts(table)
    above = {cpu: count(model, cpu, args.ram) for cpu in ABOVE if not args.cpu}
    for cpu, found in above.items():
        print_counts({cpu: found})
    kinds, line = kinds_of_instructions(model, next(iter(table)), args.ram, args.prompt)
    print(line)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    sizes = counts.size_rows({image: build.link(image, tiny) for image in counts.ENTRIES})
    rows = [*counts.count_rows({**table, **above}, digest), *sizes]
    result = counts.run_of(rows, token=kinds)
    save(args.json, [result])
    status = 0 if is_good else 1
    if args.baseline:
        status = judge(result, runs, args) or status
    return status


if __name__ == "__main__":
    sys.exit(run_command("qemu.run", main, (build.DoesNotFit, Hung, ResultError)))
