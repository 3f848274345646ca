# Every target works from a clean clone, in any order: Debian, Python 3.11, a C compiler and make are all it takes.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
LIST := $(VENV)/sources.txt
EXTRAS := dev,demo,docs
PEERS := $(patsubst benchmarks/peers/requirements/%.txt,.bench/venvs/%/installed,$(wildcard benchmarks/peers/requirements/*.txt))

# A PYTHONPATH of the caller's must not put the source tree, or anything else, before the wheel.
unexport PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What the wheel is made of. The list is kept too, so that a deleted file also makes a new wheel.
SOURCES := pyproject.toml setup.py MANIFEST.in build_ffi.py README.md LICENSE secagg/py.typed $(sort $(wildcard secagg/vectors/*.json)) \
	$(sort $(shell find secagg native -name '*.py' -o -name '*.c' -o -name '*.h'))

# The working directory, and with it secagg/, stays off sys.path, also in the processes that tests start: what is tested is
# the installed wheel, and the tests check that.
INSTALLED := PYTHONSAFEPATH=1 SECAGG_TEST_INSTALLED=1
PYTEST := $(INSTALLED) $(BIN)/python -m pytest
COVER := $(INSTALLED) $(BIN)/python -m coverage run
# The bodies of the compiled fallback, as plain Python so that coverage sees them: a small run, for they are slow.
WITHOUT_JIT := SECAGG_FORCE_ISA=fallback NUMBA_DISABLE_JIT=1
# For each instruction set: its own cases of the kernel tests, and all tests of those who call the kernels.
KERNEL_TESTS := tests/native $(sort $(wildcard tests/unit/test_kernel*.py tests/unit/test_mask_kernel*.py))
KERNEL_USERS := tests/conformance $(sort $(wildcard tests/unit/test_hazmat_*.py tests/unit/test_encoding_*.py))
WITHOUT_JIT_TESTS := $(sort $(wildcard tests/unit/test_kernels*.py tests/unit/test_hazmat_*.py))

.PHONY: help install demo test test-all cross lint format docs bench bench-full dist clean FORCE

help:  ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv and install the wheel with its dependencies into it

demo: $(STAMP)  ## Train on patient data across hospitals while the server sees only noise and the sum
	$(BIN)/secagg demo

test: $(STAMP)  ## Run the tests against the installed wheel, with coverage
	rm -f .coverage
	$(COVER) -m pytest -m "not slow"
	$(if $(WITHOUT_JIT_TESTS),$(WITHOUT_JIT) $(COVER) --append -m pytest -m "not slow" -q $(WITHOUT_JIT_TESTS))
	$(BIN)/python -P -m coverage report

test-all: $(STAMP)  ## Run everything, slow tests included, also on every instruction set and on the fallback
	rm -f .coverage
	$(COVER) -m pytest
	$(WITHOUT_JIT) $(COVER) --append -m pytest -m "not slow" -q $(WITHOUT_JIT_TESTS)
	$(BIN)/python -P -m coverage report
	for isa in $$($(BIN)/python -P -c 'import secagg; print(*secagg.build_info()["available"])'); do \
		echo "== $$isa"; export SECAGG_FORCE_ISA=$$isa; \
		$(PYTEST) -q -m "not slow" -k $$isa $(KERNEL_TESTS); $(PYTEST) -q -m "not slow" $(KERNEL_USERS); done
	SECAGG_FORCE_ISA=portable $(PYTEST) -q -m "not slow"
	SECAGG_FORCE_ISA=fallback $(PYTEST) -q -m "not slow"

cross: $(STAMP)  ## Run the C tests as AArch64 and on older x86 under emulation; as root, first install what is missing
	@if ! { command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64; } >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; fi
	$(PYTEST) tests/native/test_cross.py

lint: $(STAMP)  ## Check style, types and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

BENCHMARKS := $(BIN)/python -P -m pytest benchmarks --benchmark-enable -m "not slow" -p no:cacheprovider -q \
	$(if $(BENCH),,--benchmark-json=.bench/pytest-benchmark.json)

bench: $(STAMP) $(PEERS)  ## Measure against the peers, one table of ratios; BENCH=name measures one of them
	mkdir -p .bench
	BENCH='$(BENCH)' $(BENCHMARKS)

bench-full: $(STAMP) $(PEERS)  ## The same at the large sizes: half an hour, 8 GB of memory and 4 of disk
	mkdir -p .bench
	SECAGG_BENCH_FULL=1 BENCH='$(BENCH)' $(BENCHMARKS)

# A peer whose pins contradict ours lives in an environment of its own. One that cannot be installed is reported as missing.
.bench/venvs/%/installed: benchmarks/peers/requirements/%.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -qq -r $< && touch $@ || echo "$*: cannot be installed here"

dist: $(STAMP)  ## Build sdist, abi3 wheel and pure wheel into release/, look inside, and try each in a bare environment
	$(BIN)/python -P .ci/dist release

clean:  ## Remove everything that make made
	rm -rf $(VENV) build dist release site .bench .benchmarks .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf .coverage .coverage.* htmlcov secagg.egg-info secagg/_native*.so secagg/_native*.c
	find secagg tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(LIST): $(BIN)/python FORCE
	@printf '%s\n' $(SOURCES) | cmp -s - $@ || printf '%s\n' $(SOURCES) > $@

# build/ goes first: setuptools would carry deleted modules over from it.
$(STAMP): $(LIST) $(SOURCES)
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall dist/secagg-*.whl
	$(BIN)/python -m pip install --quiet "$$(ls dist/secagg-*.whl)[$(EXTRAS)]"
	$(BIN)/python -P -c 'import secagg; print("installed secagg:", secagg.build_info())'
	touch $@
