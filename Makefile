# On a fresh machine: Python 3.12 and make. Everything else comes with `make venv`.

.DEFAULT_GOAL := venv
.DELETE_ON_ERROR:

export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.8

# python3.12 on PATH if it works (pyenv's stand-in may not), else the newest that pyenv holds.
PYTHON = $(or \
	$(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null), \
	$(lastword $(sort $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.12*/bin/python3.12))), \
	$(error Python 3.12 is needed: no python3.12 on PATH and none in pyenv))

.PHONY: venv run test check audit bench chaos docs screenshots lock clean

venv: .venv/.stamp

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -m deploy.native.preflight
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(UV) pip install --quiet --require-hashes -r requirements.lock
	$(UV) pip install --quiet --no-deps -e .
	@touch $@

run: venv
	$(BIN)/memrelay up --sample examples/conversation.ndjson

test: venv
	$(BIN)/pytest -m "not alone" --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -m alone

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive memrelay api backends workers deploy
	$(BIN)/pytest tests/unit -m "not slow"

# Needs the package index's own data of known vulnerabilities; what cannot be audited is an error.
audit: venv
	$(BIN)/pip-audit --strict --requirement requirements.lock --disable-pip --no-deps

# BENCH: --quick, --only NAMES, --record, --check; see --help.
BENCH ?=

bench: venv
	$(BIN)/python -m benchmarks $(BENCH)

SEED ?= 1
SECONDS ?= 60
BROKER ?= redis
CHAOS ?=

# CHAOS: more arguments, see --help. What it finds ends with exit status 1 and keeps its directory.
chaos: venv
	$(BIN)/python -m tests.chaos --seed $(SEED) --seconds $(SECONDS) --broker $(BROKER) $(CHAOS)

# Of every page of the dashboard, into docs/images/. Errors that they show name the directory.
screenshots: venv
	SCREENSHOTS=1 $(BIN)/pytest tests/browser --basetemp=/tmp/memrelay-screenshots

docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Hashes, but no index addresses: the lock must serve wherever the packages come from.
lock: venv
	$(UV) pip compile pyproject.toml --quiet --extra all --group dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header -o requirements.lock
	awk '/^[^ #]/ { ours = /^(memrelay|-e )/ } !ours' requirements.lock > requirements.lock.new
	mv requirements.lock.new requirements.lock
	@! grep -n '://' requirements.lock || { echo 'requirements.lock names an address' >&2; exit 1; }

clean:
	rm -rf site .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
