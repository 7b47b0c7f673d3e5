# PYTHON=python3.12 chooses the interpreter, PIP_ARGS goes to pip, TEST_ARGS to pytest, WORKERS is pytest-xdist's -n.
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto

# One thread per process: the test suite runs a worker on each core. Python keeps what it has compiled, whatever the
# shell says: workers and the processes that they start would each compile it all anew.
TEST_ENV := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=$(or $(OMP_NUM_THREADS),1) MPLBACKEND=Agg
# The first of these that is 3.11 or later makes the environment.
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
DOC_TESTS := $(wildcard tests/test_docs.py tests/test_exports.py)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all check docs bench gpu dist clean distclean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.user-stamp ## train on handwritten digits, into runs/demo
	$(BIN)/vaekit train digits --out runs/demo --overwrite

test: $(VENV)/.dev-stamp ## run the test suite on all cores, but for what is marked slow
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(TEST_ARGS)

test-all: $(VENV)/.dev-stamp ## run all tests, before a release
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TEST_ARGS)

check: $(VENV)/.dev-stamp ## format, lint, types, doctests, exports and docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(TEST_ENV) $(BIN)/python -m pytest --doctest-modules src $(DOC_TESTS)

docs: $(VENV)/.docs-stamp ## build the site of the documents, into site; it works without a network
	$(BIN)/python -m sphinx -q -E -a -W --keep-going -d build/doctrees -c docs . site
	$(BIN)/python docs/check.py site

# An empty PEERS leaves out the packages that the speed is compared with; BENCH_ARGS goes to bench.py, GPU_ARGS to gpu.py.
PEERS ?= $(VENV)/peers
PEERS_STAMP := $(if $(PEERS),$(PEERS)/.stamp)

bench: $(VENV)/.dev-stamp $(PEERS_STAMP) ## measure the speed on a quiet machine, into benchmarks/report.md
	$(BIN)/python benchmarks/bench.py --report benchmarks/report.md $(if $(PEERS),--peers $(PEERS)/bin/python) $(BENCH_ARGS)

gpu: ## measure what only a GPU can tell, in eight minutes, into benchmarks/gpu.md
	PYTHONPATH=$(CURDIR)/src:$$PYTHONPATH $(or $(PYTHON),python3) benchmarks/gpu.py $(GPU_ARGS)

ifneq ($(PEERS),)
$(PEERS)/.stamp: benchmarks/requirements.txt | $(BIN)/pip
	$(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check -r benchmarks/requirements.txt $(PIP_ARGS)
	@touch $@
endif

dist: $(VENV)/.dev-stamp ## build the sdist and the wheel, into dist
	$(BIN)/python -m build

clean: ## remove caches and builds; keep runs and the environment
	rm -rf build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	rm -rf $(VENV)

# pip is the last thing that venv puts in place, so an interrupted set-up is done again.
$(BIN)/pip:
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Setting up $(VENV) with $$python"; exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "vaekit needs Python 3.11 or later with its venv module, which is none of: $(PYTHONS);" \
	    "name one: make PYTHON=/path/to/python" >&2; exit 1

$(VENV)/.user-stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e . $(PIP_ARGS)
	@touch $@

$(VENV)/.docs-stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]' $(PIP_ARGS)
	@touch $@ $(VENV)/.user-stamp

# Who has the dev extra has what a user needs, and what the documents need.
$(VENV)/.dev-stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' $(PIP_ARGS)
	@touch $@ $(VENV)/.user-stamp $(VENV)/.docs-stamp
