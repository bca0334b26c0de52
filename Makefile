# Each target says what it is for; `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-emit-find-links --upgrade
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PACKAGE := pyproject.toml locks/build.in
PACKAGE_FILES := pyproject.toml src/pegasus/__init__.py

.DEFAULT_GOAL := help
.PHONY: help setup run test test-server fuzz kills aws-check aws-rehearse image compose-up compose-test check fmt bench bench-server docs lock previous-release clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

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

test: $(VENV)/.dev ## Run all tests but the slow ones of the server tier, on up to four processors
	$(PYTEST) -m "not server and not aws"

test-server: $(VENV)/.dev ## Run what users see on PostgreSQL, Chroma, Bolt and S3 servers, and their slow tests
	PEGASUS_TEST_TIER=server $(PYTEST) -m "not aws"

fuzz: $(VENV)/.dev ## Fuzz the API and the readers of files for MINUTES=30 each (FUZZ_SEED=... does a run again)
	FUZZ_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m pytest tests/fuzz -s

kills: $(VENV)/.dev ## Kill -9 whatever runs KILLS=1000 times, and look what it left (KILLS_SEED=... does a run again)
	KILLS=$(or $(KILLS),1000) $(BIN)/python -m pytest tests/kills -s

# Compose is a source package: its own build tool is held to the lock, too.
$(VENV)/.containers: locks/containers.lock $(VENV)/.dev
	PIP_CONSTRAINT=$< $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

image: $(VENV)/.containers ## Build the container images and tell what is in them (Docker, or root on Debian)
	$(BIN)/python -m containers.image

compose-up: ## Start everything in containers (needs Docker and Python 3.11, nothing else)
	$(PYTHON) -m containers.credentials
	docker compose up --detach --build --wait

compose-test: $(VENV)/.containers ## Build the images, run compose.yaml and show that it works (Docker, or root on Debian)
	$(BIN)/python -m pytest containers -s

check: $(VENV)/.dev ## Lint, types, import rules, documentation in step with the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/hadolint --ignore DL3008 containers/stand_ins/*.Dockerfile
	$(BIN)/python -m docs.generate --check

fmt: $(VENV)/.dev ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

aws-check: $(VENV)/.dev ## cfn-lint over AWS_ENVIRONMENTS=200 generated environments, checkov over both that come with Pegasus
	AWS_ENVIRONMENTS=$(or $(AWS_ENVIRONMENTS),200) $(BIN)/python -m pytest tests/aws -m "aws or not aws" -s

aws-rehearse: $(VENV)/.containers ## Run tasks and stores of the emulated AWS in containers, good and bad releases (Docker, or root on Debian)
	$(BIN)/python -m containers.rehearse $(BIN)/python -m pytest tests/aws/test_engine.py -m aws -s

bench: $(VENV)/.dev ## Measure against the goals, side by side with the floor of each (BENCH=ingest,search picks some)
	$(BIN)/python -m bench $(BENCH)

bench-server: $(VENV)/.dev ## The same on the server tier, whose servers it starts (BENCH=jobs,soak picks; SOAK_MINUTES=10)
	$(BIN)/python -m bench --server $(BENCH)

docs: $(VENV)/.dev ## Generate the reference pages and pictures from the code
	$(BIN)/python -m docs.generate

# First what has everything in it: what one part pins (Celery does) holds for all.
lock: ## Resolve the dependencies again into locks/ (needs uv)
	$(COMPILE) $(PACKAGE) --extra embedded --extra server --extra aws --extra test --extra check -o locks/dev.lock
	$(COMPILE) -c locks/dev.lock $(PACKAGE) --extra embedded -o locks/core.lock
	$(COMPILE) -c locks/dev.lock $(PACKAGE) --extra embedded --extra server -o locks/server.lock
	$(COMPILE) -c locks/dev.lock $(PACKAGE) --extra embedded --extra aws -o locks/aws.lock
	$(COMPILE) -c locks/core.lock $(PACKAGE) --extra embedded --extra nlp -o locks/nlp.lock
	$(COMPILE) -c locks/dev.lock pyproject.toml --extra server -o locks/image.lock
	$(COMPILE) -c locks/dev.lock locks/vectors.in -o locks/vectors.lock
	$(COMPILE) -c locks/dev.lock locks/build.in -o locks/build.lock
	$(COMPILE) locks/containers.in -o locks/containers.lock
	$(COMPILE) locks/checkov.in -o src/pegasus_aws/checkov.lock
	$(COMPILE) locks/emulator.in -o src/pegasus_aws/emulator.lock

previous-release: $(VENV)/.dev ## Keep this code in tests/data as the release that the next one's schema must bear
	$(BIN)/python -m tests.previous_release

clean: ## Remove what make has made, but no data
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
