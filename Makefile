# renkei. The two commands of the README are `make demo` and `make test`; each sets up what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench docs clean

demo: $(VENV)/.demo  ## Run three joint campaigns over embedded U.S. and Japanese sites
	@$(BIN)/renkei demo

test: $(VENV)/.dev check  ## Everything that must hold
	$(BIN)/python -m pytest -q --cov=renkei --cov-report=term:skip-covered

check: $(VENV)/.dev  ## The quick part: style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: $(VENV)/.bench  ## Trials a second, next to Parsl HTEX on this machine
	$(BIN)/python benchmarks/noop.py

docs: $(VENV)/.dev  ## Write the reference pages that are generated from code
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) .renkei

# Each stamp is newer than what it was made from, so a second call starts at once.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) --editable '.[demo,dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.demo
	$(PIP) --editable '.[demo,bench]'
	@touch $@
