# `make demo` and `make test` do all the set-up on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/.core
	@mkdir -p demo
	$(BIN)/retone match examples/dull_voice.flac --to examples/bright_voice.flac -o demo/voice.flac --force
	$(BIN)/retone match examples/orchestra.ogg --to examples/game_music.ogg -o demo/music.ogg --force

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests scripts
	$(BIN)/ruff format --check src tests scripts
	$(BIN)/mypy

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
	@touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) demo
