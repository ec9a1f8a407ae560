# make demo: set everything up and show the whole thing at work.   make test: set everything up and run all checks.
# DEMO_ARM=1 make demo adds an emulated arm64 board.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOT := $(shell id -u | grep -qx 0 && echo yes)
# It asks Python whether it has venv.
PACKAGES := PYTHON='$(PYTHON)' tools/system-packages.sh

.PHONY: demo test check unit integration lab-tests soak packages clean
# Suites take turns, also under make -j: they measure time.
.NOTPARALLEL:
# A virtual environment that could not be finished is made again.
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@$(PACKAGES) base $(if $(ROOT),lab $(if $(DEMO_ARM),arm))
	@$(BIN)/tvmops demo $(if $(DEMO_ARM),--arm)

test: check unit integration lab-tests

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin -q -t=3.5- --no-tips --violations tvmops/agent playbooks/files
	$(BIN)/vermin -q -t=3.8- --no-tips --violations --no-parse-comments --eval-annotations tvmops/worker

unit: $(VENV)/.dev packages
	$(BIN)/pytest tests/unit -n 2 -q

integration: $(VENV)/.dev packages
	$(BIN)/pytest tests/integration -n 2 --dist loadfile

lab-tests: $(VENV)/.dev packages
	$(BIN)/pytest tests/lab -n 2 --dist loadfile

# Faults at many random moments of playbook runs: hours. ROUNDS=50 SEED=7 make soak; a failure names its seed.
soak: $(VENV)/.dev packages
	TVMOPS_SOAK=$(or $(ROUNDS),20) $(if $(SEED),TVMOPS_SEED=$(SEED)) $(BIN)/pytest tests/lab/test_engine_faults.py -s

packages:
	@$(PACKAGES) base lab arm test

$(VENV)/bin/python:
	@$(PACKAGES) base
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "tvmops needs Python 3.10 or newer: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --config-settings editable_mode=compat -e '.[report,lab]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --config-settings editable_mode=compat -e '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .tvmops build dist *.egg-info
