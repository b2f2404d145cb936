"""The structural rules that a script can check: names, imports, generated files, the README."""

import ast
import re
import subprocess

import pytest

import abi
import build
from compile_mpy import PACKAGES, SHARED_MODULES
from conftest import ROOT, needs

KERNEL = re.compile(
    r"(argmax|attn_mix|dequantize|dot|gelu|layernorm|matmul|patch|pick|quantize|rmsnorm|rope|"
    r"softmax|sum|swiglu)"
    r"(_(f32|f16|q4_0|q4_1|q8_0|q8))+"
    r"_(c|neon|neon_dotprod|neon_i8mm|avx2|avx512vnni)"
)
MANIFEST = re.compile(r"KLLM_KERNEL\((\w+), (\w+), (\w+), ")
CORE_HEADERS = {"stddef.h", "stdint.h", "float.h", "immintrin.h", "arm_neon.h", "cpuid.h"}
HOSTED = {"threads_linux.c", "cpu_aarch64_linux.c"}
SHARED_IMPORTS = {"sys", "struct", "array", "io", "os", "time", "micropython", "hashlib",
                  "binascii", "importlib", "math", "kernel_llm", "arena", "tokenizer", "ffi",
                  "uctypes"}  # fmt: skip
TEXT_FILES = ("*.py", "*.c", "*.h", "*.S", "*.md", "*.toml", "*.sh", "*.def", "*.ld", "*.json")


def manifest():
    return ["_".join(m) for m in MANIFEST.findall((build.SOURCES / "kernels.def").read_text())
            if m[0] != "op"]  # fmt: skip


def test_every_kernel_has_a_name_in_the_grammar_and_a_file_of_that_name():
    names = manifest()
    assert len(names) == len(set(names))
    files = {p.stem for d in ("c", "x86_64", "aarch64") for p in (build.SOURCES / d).glob("*.c")}
    assert set(names) == files
    assert [n for n in names if not KERNEL.fullmatch(n)] == []


def test_every_variant_has_a_c_twin():
    names = set(manifest())
    for name in names:
        stem = re.sub(r"_(c|neon.*|avx.*)$", "", name)
        assert stem + "_c" in names


def test_the_core_includes_no_library_header():
    for path in build.SOURCES.rglob("*.[ch]"):
        found = set(re.findall(r"#include <([^>]+)>", path.read_text()))
        assert path.name in HOSTED or found <= CORE_HEADERS, path.name


def test_the_core_has_no_mutable_globals_and_no_allocation():
    mutable = re.compile(r"^static (?!const|inline|KLLM)[\w ]+\**\w+(\[.*\])?( = .*)?;", re.M)
    for path in build.SOURCES.rglob("*.[ch]"):
        text = path.read_text()
        assert not re.search(r"\b(malloc|calloc|realloc|free|alloca|printf)\(", text), path.name
        assert not mutable.search(text), (path.name, mutable.search(text)[0])


def test_the_generated_module_is_fresh():
    assert (ROOT / "kernel_llm" / "_abi.py").read_text() == abi.text()


@needs("c++")
def test_the_header_is_one_for_programs_in_cpp(tmp_path):
    program = '#include "kllm.h"\nint main() { return kllm_abi_version() == 0; }\n'
    (tmp_path / "main.cc").write_text(program)
    include = ROOT / "native" / "include"
    archive = build.build_archive(build.host_target())
    command = ["c++", "-Wall", "-Wextra", "-Werror", f"-I{include}", tmp_path / "main.cc", archive,
               "-pthread", "-o", tmp_path / "main"]  # fmt: skip
    subprocess.run(command, check=True)
    subprocess.run([tmp_path / "main"], check=True)


def test_both_bindings_offer_every_function_of_the_header():
    from kernel_llm import _abi, _native_cffi

    for name, _, _ in _abi.FUNCTIONS:
        assert hasattr(_native_cffi, name)


def test_every_public_function_is_used_or_tested():
    code, ffi = abi.header()
    text = "".join(p.read_text() for d in ("kernel_llm", "arena", "tests", "benches", "qemu")
                   for p in (ROOT / d).rglob("*") if p.suffix in (".py", ".c"))  # fmt: skip
    for name, _, _ in abi.functions(code, ffi):
        assert re.search(rf"\b{name}\b", text), name


@pytest.mark.parametrize("path", SHARED_MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_shared_module_keeps_to_what_micropython_has(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        assert {n.split(".")[0] for n in names} <= SHARED_IMPORTS
        assert not isinstance(node, (ast.Match, ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SHARED_MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_shared_module_is_imported_without_those_of_cpython(path):
    shared = {p.relative_to(ROOT).with_suffix("").as_posix() for p in SHARED_MODULES}
    for node in ast.parse(path.read_text()).body:  # what functions import, they import when called
        if not isinstance(node, ast.ImportFrom) or node.module.split(".")[0] not in PACKAGES:
            continue
        place = node.module.replace(".", "/")
        wanted = {f"{place}/{alias.name}" if (ROOT / place).is_dir() else place
                  for alias in node.names}  # fmt: skip
        wanted = {place for place in wanted if (ROOT / place).with_suffix(".py").exists()}
        assert wanted <= shared


def tracked(*patterns):
    found = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True
    )
    return [ROOT / name for name in found.stdout.split() if (ROOT / name).exists()]


def test_documents_link_to_what_is_there():
    for path in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_nothing_is_left_for_later():
    for path in tracked(*TEXT_FILES):
        if path.name != "test_rules.py":
            assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path


def test_readme_names_verbs_that_exist():
    text = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"`?make ([a-z0-9-]+)", text))
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{verb}:", makefile, re.M) for verb in verbs)
