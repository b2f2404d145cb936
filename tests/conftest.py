"""What the tests share: data that may be beside the project, small models, the real model."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("vocabularies")
ROOT = Path(__file__).resolve().parent.parent
SEED = int(os.environ.get("SEED", "20240229"))

# A busy or emulated machine is slow, not wrong.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# What a shell starts in the background ignores Ctrl-C, what nohup starts that the terminal goes
# away, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Files whose tests build the same programs under build/.
BUILDERS = {"test_aarch64", "test_images", "test_kernels", "test_mix", "test_port"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where tests run side by side, one process runs all of a file, and all of BUILDERS."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            stem = Path(nodeid.split("::", 1)[0]).stem
            return "builders" if stem in BUILDERS else stem

    return ByFile(config, log)


def needs(*programs):
    """Returns a mark by which tests are left out where one of the programs is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}: `make test` says "
                              "what brings it")  # fmt: skip


# A second oracle, which takes minutes to build, may be missing even in continuous integration.
OPTIONAL = "llama-cpp-python is not installed"


def pytest_addoption(parser):
    parser.addoption("--complete", action="store_true", help="fail where a test is left out")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """With --complete, as .ci/run says it, what was left out is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--complete"):
        return
    left_out = [r for r in reporter.stats.get("skipped", ()) if OPTIONAL not in str(r.longrepr)]
    if left_out and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.ensure_newline()
        for report in left_out:
            reporter.write_line(f"left out, which --complete forbids: {report.nodeid}")


def pytest_report_header():
    return f"seed {SEED} (SEED=… sets it)"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of published vocabularies beside the project; not everyone has it."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the published vocabularies are not beside the project")
    return path


@pytest.fixture
def rng():
    return random.Random(SEED)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """Returns a function (arch, dtype, **options) -> path of a small seeded GGUF model."""
    from make_data import make_gpt2, make_llama

    folder = tmp_path_factory.mktemp("models")

    def make(arch, dtype, **options):
        name = "-".join([arch, dtype, *(f"{k}{v}" for k, v in sorted(options.items()))])
        path = folder / f"{name}.gguf"
        if not path.exists():
            {"llama": make_llama, "gpt2": make_gpt2}[arch](path, dtype=dtype, **options)
        return path

    return make


@pytest.fixture(scope="session")
def smollm2():
    """The path of SmolLM2-135M-Instruct; fetched if it is not in the cache yet."""
    from kernel_llm.pull import pull

    if os.environ.get("KLLM_OFFLINE"):
        pytest.skip("KLLM_OFFLINE is set")
    return pull("smollm2-135m")
