# `make demo` and `make test` do all set-up on a fresh machine: they need Python 3.11 or later, and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
BENCH := .venv-bench/installed

DYNALITE := tests/dynalite/node_modules/installed
ENGINE := $(if $(shell command -v npm),$(DYNALITE))

# One moto and one warm parent a worker; a worker that has nothing left to do takes tests from the others.
PYTEST := $(BIN)/python -m pytest -q --dist worksteal

.PHONY: demo test quick faults image-test dashboards docs lint types tests soak rehearsal format lock bench clean

demo: $(STAMP)
	@$(BIN)/python -m sandbox.demo

test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP) $(ENGINE)
	$(PYTEST) -n auto -m "not exhaustive" $(PYTEST_FLAGS)

# Pure modules and adapters, no process started: after each edit.
quick: $(STAMP)
	$(PYTEST) -n logical -m "not exhaustive and not process and not runs" --ignore-glob='tests/test_sandbox_*' $(PYTEST_FLAGS)

# The exhaustive matrices: every request cut, every fault of docs/reliability.md, races, random histories.
faults: $(STAMP) $(ENGINE)
	$(PYTEST) -n auto -m exhaustive $(PYTEST_FLAGS)

# The Dockerfile really built and run, on a base made here; needs root, buildah, debootstrap and a telegraf on PATH.
image-test: $(STAMP)
	$(BIN)/python -m tests.deployed.image

# What stands in keycheck/settings.py and is said elsewhere: the reference's table, env_setup.sh, the ConfigMap's comments.
docs: $(STAMP)
	$(BIN)/python -m docs.make_docs

# grafana/dashboards/*.json, from the list of panels in grafana/make_dashboards.py.
dashboards: $(STAMP)
	$(BIN)/python grafana/make_dashboards.py

# New random histories for SOAK_SECONDS (600); needs Node.
soak: $(STAMP) $(DYNALITE)
	$(BIN)/python -m tests.reliability.soak

# Thirty days of an account of 500 old access keys, a run every hour; half an hour or more.
rehearsal: $(STAMP)
	$(BIN)/python -m sandbox.rehearsal

# Half an hour; writes docs/benchmarks.md and its plot.
bench: $(STAMP) $(BENCH)
	$(BIN)/python -m sandbox.bench_scan --write
	$(BIN)/python -m sandbox.bench_rate --write

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Compiles requirements*.txt from pyproject.toml. No index address may get into them.
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --no-header
lock: $(STAMP)
	$(LOCK) --output-file requirements.txt pyproject.toml
	$(LOCK) --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml
	$(LOCK) --output-file sandbox/bench-requirements.txt sandbox/bench-requirements.in

$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "keycheck needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing what the demo and the tests need into .venv: about a minute, once."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Cloud Custodian, to measure beside it, and matplotlib: neither is in the lists of what keycheck or its tests need.
$(BENCH): sandbox/bench-requirements.txt
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r sandbox/bench-requirements.txt
	@touch $@

# The DynamoDB engine of the race tests: pinned, with a lock file, and no package's own scripts are run.
$(DYNALITE): tests/dynalite/package-lock.json
	cd tests/dynalite && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

clean:
	rm -rf .venv .venv-bench tests/dynalite/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
