# Each target says what it is for; `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml locks/build.in
PACKAGE_FILES := pyproject.toml src/pegasus/__init__.py

.DEFAULT_GOAL := help
.PHONY: help setup run test fuzz kills check fmt bench bench-server docs lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(VENV)/.core ## Make .venv with .venv/bin/pegasus in it

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Pegasus needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Everything is pinned with hashes; the package itself is then installed without asking for anything more.
$(VENV)/.core: locks/core.lock $(PACKAGE_FILES) | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/core.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: locks/dev.lock $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.lock
	@touch $@

run: setup ## Start Pegasus with sample documents on http://127.0.0.1:8000
	$(BIN)/pegasus up --demo

test: $(VENV)/.dev ## Run all tests, on up to four processors
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

fuzz: $(VENV)/.dev ## Fuzz the API and the readers of files for MINUTES=30 each (FUZZ_SEED=... does a run again)
	FUZZ_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m pytest tests/fuzz -s

kills: $(VENV)/.dev ## Kill -9 whatever runs KILLS=1000 times, and look what it left (KILLS_SEED=... does a run again)
	KILLS=$(or $(KILLS),1000) $(BIN)/python -m pytest tests/kills -s

check: $(VENV)/.dev ## Lint, types, import rules, documentation in step with the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

fmt: $(VENV)/.dev ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure against the goals, side by side with the floor of each (BENCH=ingest,search picks some)
	$(BIN)/python -m bench $(BENCH)

bench-server: $(VENV)/.dev ## The same on the server tier, whose servers it starts (BENCH=requests,search-server)
	$(BIN)/python -m bench --server $(BENCH)

docs: $(VENV)/.dev ## Generate the reference pages and pictures from the code
	$(BIN)/python -m docs.generate

# First what has everything in it: what one part pins (Celery does) holds for all.
lock: ## Resolve the dependencies again into locks/ (needs uv)
	$(COMPILE) --extra server --extra test --extra check -o locks/dev.lock
	$(COMPILE) -c locks/dev.lock -o locks/core.lock
	$(COMPILE) -c locks/dev.lock --extra server -o locks/server.lock
	$(COMPILE) -c locks/core.lock --extra nlp -o locks/nlp.lock

clean: ## Remove what make has made, but no data
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
