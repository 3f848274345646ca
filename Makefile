# Every target works from a clean clone, in any order: Debian, Python 3.11, a C compiler and make are all it takes.
SHELL := /bin/bash
comma := ,
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
LOCK := requirements/dev.lock
TOOLS := .tools/bin
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
# As many processes at a time, each with whole files of tests, and their coverage together in .coverage.
JOBS := 2
COVER := $(PYTEST) -n $(JOBS) --dist loadfile --cov --cov-report=
# The bodies of the compiled fallback, as plain Python so that coverage sees them: a small run, for they are slow.
WITHOUT_JIT := SECAGG_FORCE_ISA=fallback NUMBA_DISABLE_JIT=1
# For each instruction set: its own cases of the kernel tests, and all tests of those who call the kernels.
KERNEL_TESTS := tests/native $(sort $(wildcard tests/unit/test_kernel*.py tests/unit/test_mask_kernel*.py))
KERNEL_USERS := tests/conformance $(sort $(wildcard tests/unit/test_hazmat_*.py tests/unit/test_encoding_*.py))
WITHOUT_JIT_TESTS := $(sort $(wildcard tests/unit/test_kernels*.py tests/unit/test_hazmat_*.py))

# Frameworks pin what contradicts each other, so each has an environment of its own, with the same wheel: .integrations/NAME from
# tests/integrations/NAME/requirements.txt, and .integrations/NAME-previous, an older release, from requirements-previous.txt.
INTEGRATIONS := $(sort $(patsubst tests/integrations/%/requirements.txt,%,$(wildcard tests/integrations/*/requirements.txt)))
PREVIOUS := $(sort $(patsubst tests/integrations/%/requirements-previous.txt,%-previous,\
	$(wildcard tests/integrations/*/requirements-previous.txt)))

.PHONY: help install demo test test-integrations test-all cross ct model fuzz lint format docs bench bench-full dist lock audit clean FORCE

help:  ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv and install the wheel with its dependencies into it

demo: $(STAMP)  ## Train on patient data across hospitals while the server sees only noise and the sum
	$(BIN)/secagg demo

test: $(STAMP)  ## Run the tests against the installed wheel, with coverage
	rm -f .coverage
	$(COVER) -m "not slow"
	$(if $(WITHOUT_JIT_TESTS),$(WITHOUT_JIT) $(COVER) --cov-append -m "not slow" -q $(WITHOUT_JIT_TESTS))
	$(BIN)/python -P -m coverage report

# $(call integrate,NAME,ENVIRONMENT,which tests): the plug-in's tests in one environment, then the coverage of the plug-in's files.
# The rootdir is the root, for from nearer by a directory called torch would be taken for torch.
define integrate
	@echo "== $(2)"
	rm -f .integrations/$(2)/coverage
	$(INSTALLED) COVERAGE_FILE=.integrations/$(2)/coverage .integrations/$(2)/bin/python -m coverage run --rcfile=tests/integrations/coverage.ini \
		--include='*/secagg/integrations/$(1)/*,*/secagg/integrations/$(1).py,*/secagg/cli/bench/$(1).py' \
		-m pytest -c tests/integrations/pytest.ini --rootdir . --confcutdir tests/integrations -m "$(3)" tests/integrations/$(1)
	COVERAGE_FILE=.integrations/$(2)/coverage .integrations/$(2)/bin/python -P -m coverage report --rcfile=tests/integrations/coverage.ini

endef

test-integrations: $(INTEGRATIONS:%=.integrations/%/installed)  ## Run each plug-in against its framework, in an environment of its own
	$(foreach name,$(INTEGRATIONS),$(call integrate,$(name),$(name),not slow))

test-all: $(STAMP) $(INTEGRATIONS:%=.integrations/%/installed) $(PREVIOUS:%=.integrations/%/installed)  ## Run everything: slow tests, every instruction set, the fallback, plug-ins also on the release before
	rm -f .coverage
	$(COVER)
	$(WITHOUT_JIT) $(COVER) --cov-append -m "not slow" -q $(WITHOUT_JIT_TESTS)
	$(BIN)/python -P -m coverage report
	for isa in $$($(BIN)/python -P -c 'import secagg; print(*secagg.build_info()["available"])'); do \
		echo "== $$isa"; export SECAGG_FORCE_ISA=$$isa; \
		$(PYTEST) -q -m "not slow" -k $$isa $(KERNEL_TESTS); $(PYTEST) -q -m "not slow" $(KERNEL_USERS); done
	SECAGG_FORCE_ISA=portable $(PYTEST) -q -m "not slow"
	SECAGG_FORCE_ISA=fallback $(PYTEST) -q -m "not slow"
	$(foreach name,$(INTEGRATIONS),$(call integrate,$(name),$(name),slow or not slow))
	$(foreach name,$(PREVIOUS),$(call integrate,$(name:-previous=),$(name),not slow))

cross: $(STAMP)  ## Run the C tests as AArch64 and on older x86 under emulation; as root, first install what is missing
	@if ! { command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64; } >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; fi
	$(PYTEST) tests/native/test_cross.py

ct: $(STAMP)  ## Look for secrets in what the C kernels do; FULL=1 for every tool; as root, first install what is missing
	@if ! { command -v valgrind && command -v clang && ls /usr/include/valgrind/memcheck.h; } >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			valgrind libc6-dbg clang libclang-rt-dev binutils; fi
	SECAGG_CT_REQUIRED=1 $(PYTEST) $(if $(FULL),,-m "not slow") tests/native/test_ct.py tests/native/test_timing.py

model: $(STAMP)  ## Check the models of the pairwise protocol with Spin, FULL=1 for the larger ones; as root, first install what is missing
	@if ! command -v spin >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends spin; fi
	$(BIN)/python -P docs/spec/model/run.py $(if $(FULL),--full)

fuzz: $(VENV)/fuzz  ## Fuzz every decoder, every receive() and the C kernels for SECONDS=60 in all; as root, first install clang
	@if ! command -v clang >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends clang libclang-rt-dev; fi
	$(INSTALLED) $(BIN)/python tests/fuzz/session.py $(if $(filter command%,$(origin SECONDS)),$(SECONDS),60)

$(VENV)/fuzz: $(STAMP) tests/fuzz/requirements.txt
	$(BIN)/python -m pip install --quiet -r tests/fuzz/requirements.txt
	touch $@

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

bench: $(STAMP) $(PEERS) $(INTEGRATIONS:%=.integrations/%/installed)  ## Measure against the peers, one table of ratios; BENCH=name measures one of them
	mkdir -p .bench
	BENCH='$(BENCH)' $(BENCHMARKS)

bench-full: $(STAMP) $(PEERS) $(INTEGRATIONS:%=.integrations/%/installed)  ## The same at the large sizes: half an hour, 8 GB of memory and 4 of disk
	mkdir -p .bench
	SECAGG_BENCH_FULL=1 BENCH='$(BENCH)' $(BENCHMARKS)

# A peer whose pins contradict ours lives in an environment of its own. One that cannot be installed is reported as missing.
.bench/venvs/%/installed: benchmarks/peers/requirements/%.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -qq -r $< && touch $@ || echo "$*: cannot be installed here"

dist: $(STAMP)  ## Build sdist, abi3 wheel and pure wheel into release/, look inside, and try each in a bare environment
	$(BIN)/python -P .ci/dist release

# Kept, so that another wheel does not mean another environment.
.SECONDARY: $(foreach name,$(INTEGRATIONS) $(PREVIOUS),.integrations/$(name)/ready)

.integrations/%-previous/ready: tests/integrations/%/requirements-previous.txt
	$(call environment,$(@D),$<)

.integrations/%/ready: tests/integrations/%/requirements.txt
	$(call environment,$(@D),$<)

# Together with the wheel, so that pip finds versions that suit both; but the wheel itself comes and goes without the rest.
define environment
	rm -rf $(1)
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet -r $(2) "pytest>=8.3" "coverage[toml]>=7.6" dist/secagg-*.whl
	touch $(1)/ready
endef

.integrations/%/installed: $(STAMP) .integrations/%/ready
	$(@D)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/secagg-*.whl
	touch $@

lock: .tools/ready  ## Name every package of the development environment anew, by version and hash
	$(TOOLS)/uv pip compile pyproject.toml $(foreach extra,$(subst $(comma), ,$(EXTRAS)),--extra $(extra)) --upgrade --generate-hashes \
		--python-version 3.11 --no-emit-index-url --no-header --quiet --output-file $(LOCK)

audit: .tools/ready  ## Ask the vulnerability service about every package of the lock; no answer is a failure
	$(TOOLS)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r $(LOCK) || \
		{ echo "audit: a package is known to be weak, or the vulnerability service cannot be reached or does not know one (see above)"; exit 1; }

.tools/ready:
	rm -rf .tools
	$(PYTHON) -m venv .tools
	$(TOOLS)/pip install --quiet uv==0.13.9 pip-audit==2.10.1
	touch $@

clean:  ## Remove everything that make made
	rm -rf $(VENV) .tools .integrations .fuzz build dist release site .bench .benchmarks .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf .coverage .coverage.* htmlcov secagg.egg-info secagg/_native*.so secagg/_native*.c
	find secagg tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(LIST): $(BIN)/python FORCE
	@printf '%s\n' $(SOURCES) | cmp -s - $@ || printf '%s\n' $(SOURCES) > $@

# build/ goes first: setuptools would carry deleted modules over from it. On Python 3.11 all that comes from elsewhere, what builds the
# wheel included, is what the lock names by version and hash; other versions of Python take what suits them.
$(STAMP): $(LIST) $(SOURCES) $(LOCK)
	rm -rf build dist
	if $(BIN)/python -P -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
		$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCK); \
		$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .; \
		$(BIN)/python -m pip install --quiet --no-deps --force-reinstall dist/secagg-*.whl; \
		$(BIN)/python -m pip check; \
	else \
		echo "no lock for this version of Python: taking the newest packages that suit it"; \
		$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .; \
		$(BIN)/python -m pip install --quiet --no-deps --force-reinstall dist/secagg-*.whl; \
		$(BIN)/python -m pip install --quiet "$$(ls dist/secagg-*.whl)[$(EXTRAS)]"; \
	fi
	$(BIN)/python -P -c 'import secagg; print("installed secagg:", secagg.build_info())'
	touch $@
