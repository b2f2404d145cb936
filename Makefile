# The one entry point: `make help` lists the verbs.
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -n auto -rs $(PYTEST_OPTIONS)
NATIVE := $(shell find native -name '*.[ch]' -o -name '*.def' -o -path 'native/*.py')

C_FILES := $(shell find native qemu tests benches -name '*.[ch]')

.PHONY: all help bench test test-long lint format abi qemu qemu-full fuzz prove aarch64 clean

all: build/ready ## set up .venv, build the core and the extension

help: ## list the verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.venv/ready: pyproject.toml setup.py setup.sh
	@./setup.sh
	@touch $@

build/ready: .venv/ready $(NATIVE)
	@$(PY) native extension
	@touch $@

bench: all ## set up, then the benchmark suite
	$(PY) -m benches.suite --simd

test: all ## set up, then every test that ends soon (4 min); those whose emulator is missing are skipped
	-@$(PY) -m qemu.tools
	$(PYTEST) -m "not long"

test-long: all ## the other tests: families on emulated cores, another QEMU, sanitizers, long proofs (10 min)
	-@$(PY) -m qemu.tools
	$(PYTEST) -m long

lint: all ## style, names, generated files, the header alone
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) native abi --check
	@echo .venv/bin/clang-format --dry-run --Werror $(words $(C_FILES)) files of C
	@.venv/bin/clang-format --dry-run --Werror $(C_FILES)
	$(PY) tests/compile_mpy.py
	cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c native/include/kllm.h

format: all ## apply the style
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .
	.venv/bin/clang-format -i $(C_FILES)

abi: .venv/ready ## regenerate kernel_llm/_abi.py from kllm.h
	$(PY) native abi

qemu: all ## run the bare-metal images on emulated cores; instruction counts against the baseline
	$(PY) -m qemu.run --baseline baseline.json --gate

qemu-full: all ## test families of kernels, engine and tokenizer, and the suite, on every emulated core (half an hour)
	$(PY) -m qemu.families
	for cpu in cortex-a53 cortex-a72 cortex-a76; do \
		$(PY) -m qemu.user --cpu $$cpu -m benches.suite --simd --quick || exit 1; done

fuzz: all ## any text through the tokenizer, damaged models through the engine; FUZZ_CASES of each (100000)
	$(PY) tests/fuzz/fuzz_tokenizer.py --cases $(or $(FUZZ_CASES),100000)
	$(PY) tests/fuzz/fuzz_model.py --cases $(or $(FUZZ_CASES),100000)

prove: all ## arena, image check and memory plan for every input, with CBMC
	$(PY) tests/proof/prove.py

aarch64: all ## the core, the extension and the wheel for 64-bit ARM boards, in dist/
	$(PY) native/cross.py

clean: ## remove what was built
	rm -rf build kernel_llm/_kllm.abi3.so
