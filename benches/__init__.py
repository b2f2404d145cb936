# SPDX-License-Identifier: Apache-2.0
"""
The benchmark suite; CPython only. `python -m benches.suite` on the command line.

From Python: the names of benches.api can be imported from here.
"""

NAMES = (
    "BenchmarkConfig", "BenchmarkResults", "BenchmarkStats", "run_benchmark_suite",
    "check_regression", "bench_tokenization", "bench_dequantization", "bench_dot_product",
    "bench_matvec", "bench_layernorm", "bench_kv_cache", "bench_arena", "bench_attention",
    "bench_generation",
)  # fmt: skip


def __getattr__(name):
    """Imports benches.api when one of its names is first asked for."""
    if name not in NAMES:
        raise AttributeError(f"module 'benches' has no attribute {name!r}")
    from benches import api

    return getattr(api, name)
