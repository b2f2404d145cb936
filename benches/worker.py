# SPDX-License-Identifier: Apache-2.0
"""
One build under test in a process of its own: `python benches/worker.py ROOT`.

The benchmarks are those beside this file, the engine is that of ROOT; so two revisions are
measured by the same code. Requests and answers are lines of JSON on stdin and stdout.
"""

import importlib.util
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _load_benches(root):
    """Makes `benches` this folder and everything else that of root."""
    sys.path[:] = [str(root)] + [p for p in sys.path if Path(p or ".").resolve() != HERE]
    for finder in [f for f in sys.meta_path if "editable" in type(f).__module__ + str(f)]:
        sys.meta_path.remove(finder)  # an editable install would answer with its own tree
    spec = importlib.util.spec_from_file_location(
        "benches", HERE / "__init__.py", submodule_search_locations=[str(HERE)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["benches"] = module
    spec.loader.exec_module(module)


def serve(root, requests, answer):
    """
    Answers requests until they end: {"open": {"key", "level"}} gives {"probe": index, "id"} or
    {"error": text}; {"burst": index, "loops", "n", "discard"} gives {"ns": [...]};
    {"close": true} frees all.
    """
    from benches.declare import Selection, collect
    from benches.run import Options, Probe, pinned

    first = requests.readline()
    setting = json.loads(first)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in setting["selection"].items()}
    benches, skipped = collect(Selection(**fields), is_other_build=True)
    known = {(b.key, b.level): b for b in benches}
    options = Options(slow=setting["slow"], slow_only=setting["slow_only"])
    probes = []
    answer({"core": _core_of(), "ready": len(known)})
    for line in requests:
        request = json.loads(line)
        if "open" in request:
            place = request["open"]["key"], request["open"]["level"]
            if place not in known:
                why = next((s.reason for s in skipped if s.key == place[0]), "not in this build")
                answer({"error": why})
                continue
            try:
                probes.append(Probe(known[place], options))
            except Exception as error:  # another revision may fail in any way; it is only told
                answer({"error": f"{type(error).__name__}: {error}"})
                continue
            bench = known[place]
            answer({"probe": len(probes) - 1, "id": bench.id, "model": bench.model_hash})
        elif "burst" in request:
            probe = probes[request["burst"]]
            probe.loops = request["loops"]
            with pinned(probe.bench.threads == 1):
                answer({"ns": probe.burst(request["n"], request["discard"])})
        else:
            probes.clear()
            answer({})


def _core_of():
    from kernel_llm import _native_cffi

    return str(Path(_native_cffi.__file__).resolve().parent.parent)


def main():
    root = Path(sys.argv[1]).resolve()
    _load_benches(root)
    out = sys.stdout
    sys.stdout = sys.stderr  # what a benchmark prints must not look like an answer

    def answer(data):
        out.write(json.dumps(data) + "\n")
        out.flush()

    serve(root, sys.stdin, answer)


if __name__ == "__main__":
    main()
