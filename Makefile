# Everything sets itself up: Python >= 3.11 with venv, make and a C++ compiler are enough.
#   make demo     the whole story on a real graph, in minutes        make test    what has to pass before a commit
#   make test PYTHON=python3.12    with another interpreter

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# keyed on content, not on time: a fresh checkout of the same versions installs nothing
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint bench docs constraints clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

demo: $(VENV)/.dev-$(KEY)  ## a graph, its vectors, a linker and an ERNIE-style model, end to end
	$(BIN)/kelm quickstart

test: lint  ## format, lint, types, import rules, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev-$(KEY)  ## format, lint, types and import rules only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev-$(KEY)  ## every benchmark against its peers, one table
	$(BIN)/kelm bench --all

docs: $(VENV)/.docs-$(KEY)  ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

constraints:  ## test the newest versions: write constraints.txt from a fresh environment
	rm -rf $(VENV)-newest && $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet -e ".[all,dev,docs]"
	head -n 1 constraints.txt > constraints.new
	$(VENV)-newest/bin/python -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/' >> constraints.new
	mv constraints.new constraints.txt

clean:  ## remove caches and whatever is built; the environment stays
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find benchmarks docs kelm kg multilingual tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kelm needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.dev-$(KEY): | $(BIN)/python
	@echo "installing kelm and its tools into $(VENV) (minutes the first time)"
	$(INSTALL) -e ".[dev]"
	@rm -f $(VENV)/.dev-* $(VENV)/.docs-* && touch $@

$(VENV)/.docs-$(KEY): | $(VENV)/.dev-$(KEY)
	$(INSTALL) -e ".[docs]"
	@touch $@
