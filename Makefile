# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRA := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
# torch goes first and by its exact version, so that a machine's own build of it (CPU or CUDA) is
# taken and not replaced by what another package's range would pull.
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo test test-slow drill golden lint repro ui env clean

demo: env ## set up, then run the main job on real data and a real model
	$(BIN)/tuneline run sentiment

test: $(VENV)/.test ## set up, then run the tests
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(VENV)/.test ## the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not gpu"

drill: $(VENV)/.test ## kill every part of the line, three times each, and write docs/drills.md
	TUNELINE_DRILLS=3 TUNELINE_DRILLS_TABLE=docs/drills.md $(BIN)/python -m pytest -m drill tests/drills --durations=0 -q

golden: $(VENV)/.test ## take this platform's golden loss curves anew
	$(BIN)/python tests/golden/renew.py

lint: $(VENV)/.test ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

repro: env ## the same line through DVC alone
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

ui: env ## open the MLflow and Prefect pages on what was run
	$(BIN)/tuneline ui

env: $(VENV)/.$(EXTRA)

$(VENV)/.$(EXTRA): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "$(TORCH)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[$(EXTRA)]"
	touch $@

$(VENV)/.test: $(VENV)/.$(EXTRA)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[$(EXTRA),dev]"
	touch $@

clean: ## remove the environment; data, cache and runs stay
	rm -rf $(VENV)
