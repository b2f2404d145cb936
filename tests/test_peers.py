# SPDX-License-Identifier: Apache-2.0
"""The contests with peers: who wins is computed right, who is missing is named, rows are there."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from benches.peers import __main__ as peers
from benches.peers import models
from benches.peers.contest import Contest, Target, fresh, hold, local, remote, spawned
from benches.peers.engines import PEERS, Engines, install_line
from benches.remote import BuildError
from benches.run import Options
from conftest import ROOT

OPTIONS = Options(samples=20, seconds=2.0)


def waiting(microseconds):
    """Returns make() of a run that busies itself that long for each loop."""

    def make():
        def run(loops):
            import time

            end = time.perf_counter_ns() + loops * microseconds * 1000
            while time.perf_counter_ns() < end:
                pass

        return run

    return local(make)


def held(contest):
    return hold(contest, OPTIONS, lambda done, total, key: None)


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_ratio_is_how_often_our_time_fits_into_the_peers():
    contest = Contest("a", "op", 1, {"ours": waiting(100), "peer": waiting(300)},
                      {"peer": Target(2)})  # fmt: skip
    outcome = held(contest)
    ratio = outcome.ratio("peer")
    assert ratio.lo <= ratio.point <= ratio.hi
    assert 2.5 < ratio.point < 3.5
    (verdict,) = outcome.verdicts()
    assert verdict.is_met and verdict.reached == ratio.point


@pytest.mark.parametrize(
    "target,ratio,is_met",
    [(Target(2), 2.0, True), (Target(2), 1.99, False), (Target(1.35, True), 1.35, True),
     (Target(1.35, True), 1.36, False)],
)  # fmt: skip
def test_a_target_is_met_on_its_side(target, ratio, is_met):
    assert target.is_met(ratio) is is_met


def test_a_time_may_be_limited_without_a_peer():
    (slow,) = held(Contest("a", "op", 1, {"ours": waiting(200)}, seconds_target=1e-4)).verdicts()
    (fast,) = held(Contest("a", "op", 1, {"ours": waiting(200)}, seconds_target=1e-3)).verdicts()
    assert not slow.is_met and fast.is_met


def test_a_fresh_side_is_made_anew_and_sees_other_text_before_the_clock():
    calls = []

    def make():
        calls.append([])
        return calls[-1].append

    assert held(Contest("a", "op", 1, {"ours": fresh(make, "xyz")}, samples=9)).seconds
    pairs = ["".join(seen) for seen in calls if seen]  # the first is made to be looked at
    assert len(pairs) >= 10 and set(pairs) == {"zx", "xy", "yz"}
    calls.clear()
    held(Contest("a", "op", 1, {"ours": fresh(make, ["all"])}, samples=9))
    assert all(seen in ([], ["all"]) for seen in calls)


def test_a_spawned_side_is_timed_by_its_processes():
    took = [sys.executable, "-c", "print(250_000_000)"]
    (verdict,) = held(Contest("a", "op", 1, {"ours": spawned(took)}, seconds_target=1,
                              samples=6, warmup=0)).verdicts()  # fmt: skip
    assert verdict.reached == pytest.approx(0.25)
    ended = spawned([sys.executable, "-c", "raise SystemExit('gone')"])
    with pytest.raises(BuildError, match="status 1: gone"):
        held(Contest("a", "op", 1, {"ours": ended}))


def test_a_missing_peer_is_named_with_what_installs_it(no_cache):
    engines = Engines({})
    sides = {"ours": waiting(100), "llama.cpp-avx2": remote(engines, "llama.cpp-avx2", work="x")}
    contest = Contest("a", "op", 1, sides, {"llama.cpp-avx2": Target(1.3)})
    outcome = held(contest)
    assert list(outcome.missing) == ["llama.cpp-avx2"]
    assert install_line("llama.cpp-avx2") in outcome.missing["llama.cpp-avx2"]
    assert list(outcome.verdicts()) == []
    assert any("not installed" in text for text, _ in peers.lines(outcome))


def test_two_builds_of_one_package_do_not_share_a_folder():
    assert [name for name, p in PEERS.items() if p.module == "llama_cpp" and not p.has_folder] == [
        "llama.cpp"
    ]
    assert "AVX512" not in install_line("llama.cpp-avx2")


def test_a_build_with_avx512_is_refused_as_the_avx2_peer(no_cache):
    package = no_cache / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1'\n")
    (package / "llama_cpp.py").write_text(textwrap.dedent(
        """
        import ctypes


        class Function:
            def __init__(self, value):
                self.value = value

            def __call__(self, *_):
                return self.value


        class _lib:
            llama_log_set = Function(None)
            llama_print_system_info = Function(b"AVX2 = 1 | AVX512 = 1")


        llama_backend_init = Function(None)
        """
    ))  # fmt: skip
    engines = Engines({"llama.cpp-avx2": str(no_cache), "llama.cpp": str(no_cache)})
    with pytest.raises(Exception, match="AVX512"):
        engines.process("llama.cpp-avx2")
    engines.process("llama.cpp")  # as itself it may have it
    engines.close()


def test_an_engine_that_does_not_start_is_named(no_cache):
    (no_cache / "llama_cpp").mkdir()
    (no_cache / "llama_cpp" / "__init__.py").write_text("raise OSError('no such library')\n")
    with pytest.raises(Exception, match="does not start"):
        Engines({"llama.cpp": str(no_cache)}).process("llama.cpp")


def test_both_settings_are_tried_and_the_faster_kept():
    from benches.peers.llama import best_setting

    class Library:
        def settings(self):
            return [{"flash_attn": False}, {"flash_attn": True}]

    class Session:
        def __init__(self, setting):
            self.seconds = 0.001 if setting["flash_attn"] else 0.02

        def close(self):
            pass

    def prepare(session):
        import time

        return lambda loops: time.sleep(session.seconds * loops)

    assert best_setting(Library(), Session, prepare) == {"flash_attn": True}


def run_peers(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "benches.peers", *arguments], cwd=ROOT,
                          capture_output=True, text=True, **options)  # fmt: skip


def test_every_promised_row_is_there(tiny_models):
    out = run_peers("--model", str(tiny_models("llama", "q4_0")), "--list").stdout.split()
    for row in (
        *(f"decode/{d}/{t}t" for d in ("q4_0", "q8_0", "f16", "f32") for t in (1, 2)),
        *(f"prompt/{d}/{t}t" for d in ("q4_0", "q8_0") for t in (1, 2)),
        *(f"avx2/{w}/q4_0/{t}t" for w in ("decode", "prompt") for t in (1, 2)),
        "1b/decode/q4_0/2t", "own/q4_0-f32/1t", "own/far/f16", "own/far/q8_0", "own/kv",
        "own/open", "own/resident", "own/threads/decode", "own/threads/prompt",
    ):  # fmt: skip
        assert row in out


@pytest.mark.parametrize(
    "arguments,said",
    [(["--only", "no-such-row"], "no row matches"), (["--peer", "nobody=."], "known are"),
     (["--peer", "llama.cpp"], "NAME=DIR")],
)  # fmt: skip
def test_wrong_usage_is_one_line(arguments, said):
    done = run_peers(*arguments)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_a_contest_of_our_own_is_held_through_the_processes(tiny_models, tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    model = tiny_models("llama", "f32", n_ctx=2048)
    done = run_peers("--model", str(model), "--only", "own/q4_0-f32/1t", "own/resident",
                     "--seconds", "2", "--json", env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    sides = data["contests"][0]["sides"]
    assert set(sides) == {"q4_0", "f32"} and sides["f32"]["ratio"]["point"] > 0
    assert data["resident"]["grown"] > data["resident"]["image"] / 2
    assert (tmp_path / "kernel-llm" / "peers").is_dir()


def test_a_variant_is_made_once_and_again_when_the_model_changes(tiny_models, no_cache):
    from kernel_llm.gguf.read import GGUF

    model = no_cache / "model.gguf"
    model.write_bytes(tiny_models("llama", "f32").read_bytes())
    first = models.variant(model, "q8_0")
    stamp = first.stat().st_mtime_ns
    assert models.variant(model, "q8_0") == first and first.stat().st_mtime_ns == stamp
    assert {t.dtype for t in GGUF(str(first)).tensors if len(t.dims) == 2} == {8}
    model.write_bytes(tiny_models("llama", "f32", tied=False).read_bytes())
    assert models.variant(model, "q8_0") != first
