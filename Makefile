# `make demo` and `make test` do all the set-up on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2
MINUTES ?= 1

.PHONY: help demo test check coverage lint format types docs fuzz faults clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      match two example recordings"
	@echo "make check     lint, format, types and the fast tests"
	@echo "make test      all tests"
	@echo "make coverage  all tests, with a floor on the lines they run"
	@echo "make lint      lint, format and types"
	@echo "make format    rewrite the code in the house format"
	@echo "make docs      build the documentation in site/"
	@echo "make fuzz      mutated files, settings, weights and requests for MINUTES=1"
	@echo "make faults    every command under every fault"
	@echo "make clean     remove the virtual environment and what was built"

demo: $(VENV)/.core
	@mkdir -p demo
	$(BIN)/retone match examples/dull_voice.flac --to examples/bright_voice.flac -o demo/voice.flac --force
	$(BIN)/retone match examples/orchestra.ogg --to examples/game_music.ogg -o demo/music.ogg --force

test: $(VENV)/.dev
	$(PYTEST) -n $(JOBS) --dist worksteal

check: lint
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not slow and not gpu and not browser"

coverage: $(VENV)/.dev
	$(PYTEST) -n $(JOBS) --dist worksteal --cov

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(VENV)/.dev
	$(BIN)/python scripts/fuzz.py --minutes $(MINUTES) --keep failing

faults: $(VENV)/.dev
	$(BIN)/python scripts/faults.py

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "retone needs Python 3.11 or newer; set PYTHON=... to one."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv is missing: apt install python3-venv, then try again."; exit 1; }

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing retone (about two minutes the first time) ..."
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing retone and what its tests need (about four minutes the first time) ..."
	$(PIP) install -c constraints.txt -e '.[dev,studio,plugins]'
	@$(PIP) install -c constraints.txt -e '.[metrics]' || \
	  echo "The optional metrics did not install (pesq needs a C compiler): their tests will skip."
	@$(PIP) install -c constraints.txt -e '.[export]' || \
	  echo "The optional ONNX export did not install: its tests will skip."
	@$(PIP) install -c constraints.txt -e '.[live]' || \
	  echo "The optional live audio did not install: its tests will skip."
	@touch $@ $(VENV)/.core

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing retone and what its documentation needs ..."
	$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) demo site
