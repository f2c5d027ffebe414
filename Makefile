# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRA := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
# torch goes first and by its exact version, so that a machine's own build of it (CPU or CUDA) is
# taken and not replaced by what another package's range would pull.
TORCH := $(shell grep '^torch==' constraints.txt)

# Two files of tests at a time, each on one thread: most of a test's time is waiting for others.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test test-slow drill readers golden lint repro ui env clean

demo: env ## set up, run the main job on real data and a real model, and ask the champion something
	$(BIN)/tuneline run sentiment
	echo "The plot was thin, but I loved every minute of it!" | $(BIN)/tuneline chat sentiment@champion

test: $(VENV)/.test ## set up, then run the tests
	$(TESTS) -m "not slow and not gpu"

test-slow: $(VENV)/.test readers ## the tests that take minutes
	$(TESTS) -m "slow and not gpu"

readers: $(VENV)/readers/.installed ## transformers.js, which the tests of exported folders ask under Node

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

# Without Node, npm or a registry its tests are skipped and say so. No scripts: that of onnxruntime-node
# fetches libraries for CUDA.
$(VENV)/readers/.installed: tests/readers/package.json $(VENV)/.test
	mkdir -p $(VENV)/readers
	cp tests/readers/package.json $(VENV)/readers
	npm install --prefix $(VENV)/readers --ignore-scripts --no-package-lock --no-audit --no-fund --silent \
		&& touch $@ || echo 'transformers.js is not installed: its tests will be skipped'

clean: ## remove the environment; data, cache and runs stay
	rm -rf $(VENV)
