.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Two test processes suit two cores: the tests mostly wait for real servers.
WORKERS ?= 2
SOAK_SECONDS ?= 600
# make test-chaos FAULTS=200 SEED=7 MEMBERS=3 DEFAULTS=1 KINDS=kill,redis
FAULTS ?= 100
MEMBERS ?= 1
# make bench-http OPTIONS="--rounds 1 --seconds 2"
OPTIONS ?=
# One package only: make lock UPGRADE="--upgrade-package celery"
UPGRADE ?= --upgrade

# The tests start hundreds of processes, each of which would compile all modules anew if none wrote what it compiled.
test test-slow test-faults test-soak test-chaos: export PYTHONDONTWRITEBYTECODE =

.PHONY: help dev web test test-slow test-faults test-soak test-chaos bench bench-http bench-live bench-filters bench-recovery bench-board bench-docs screenshots check schema fmt lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Without Node.js there are no pages, and the API works all the same.
WEB_WITH_NODE = if command -v npm >/dev/null; then $(MAKE) --silent web; \
	  else echo "npm is not installed: the board and the playground are left out"; fi

dev: .venv/ready ## Run MongoDB, Redis, a worker and the API on http://localhost:8000
	@$(WEB_WITH_NODE) || echo "The board and the playground are not built; the API starts without them"
	@TASK_MODULES="$${TASK_MODULES:-jobs.tasks}" $(BIN)/gql-api dev

web: .venv/ready ## Build the board and the playground, which needs Node.js
	@$(BIN)/python hatch_build.py

test: .venv/ready tests/js/node_modules ## Run the tests, which start their own servers
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not chaos and not fault and not slow and not soak"

# To install the package and to start a stack may take longer than the two minutes that other tests have.
test-slow: .venv/ready ## Run the tests that drive a browser, install the package or run whole stacks
	@$(WEB_WITH_NODE)
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m slow --timeout 300

test-faults: .venv/ready ## Run the tests that kill servers and workers, or move whole applications
	@$(BIN)/pytest -n $(WORKERS) -m fault

test-soak: .venv/ready ## Connect and disconnect clients for ten minutes while connections are cut
	@$(BIN)/pytest tests/soak -m soak -s --soak-seconds $(SOAK_SECONDS)

test-chaos: .venv/ready ## Inject random faults under load, and check every promise
	@$(BIN)/pytest tests/chaos -m chaos -s --chaos-faults $(FAULTS) --chaos-members $(MEMBERS) \
	  $(if $(SEED),--chaos-seed $(SEED)) $(if $(DEFAULTS),--chaos-defaults) $(if $(KINDS),--chaos-kinds $(KINDS))

bench: .venv/ready ## Measure no-op tasks per second against stock Celery
	@$(BIN)/python benchmarks/noop.py $(OPTIONS)

bench-http: .venv/ready ## Measure creating, reading and listing tasks against plain servers
	@$(BIN)/python benchmarks/http_rates.py $(OPTIONS)

bench-live: .venv/ready ## Measure live updates against plain servers
	@$(BIN)/python benchmarks/live.py $(OPTIONS)

bench-filters: .venv/ready ## Measure a thousand live lists with different filters against ten
	@$(BIN)/python benchmarks/live_filters.py $(OPTIONS)

bench-recovery: .venv/ready ## Measure the recovery of many tasks, after Redis lost their messages and others
	@$(BIN)/python benchmarks/recovery.py $(OPTIONS)

bench-board: .venv/ready web ## Measure how the board bears many tasks and changes, in Chromium
	@$(BIN)/python benchmarks/board.py $(OPTIONS)

screenshots: .venv/ready web ## Make screenshots of all pages, in Chromium, and copy those of the documentation
	@$(BIN)/python tests/browser/support/screenshots.py .data/screenshots

bench-docs: .venv/ready ## Run the four above, and write their tables into docs/performance.md
	@for name in http_rates live live_filters recovery; do \
	  $(BIN)/python benchmarks/$$name.py $(OPTIONS) --into docs/performance.md || exit; done

check: .venv/ready web/node_modules ## Lint, types, import rules, container files, and the checks and tests of web/
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yml
	@$(BIN)/hadolint Dockerfile
	@if command -v npm >/dev/null; then cd web && npm run --silent check; fi

schema: .venv/ready ## Export schema.graphql from the code
	@$(BIN)/strawberry export-schema gql_api.schema:schema --output schema.graphql

fmt: .venv/ready ## Format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .venv/ready ## Resolve the requirements again, within the caps of pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --universal --python-version 3.11 \
	  --no-emit-index-url --no-header $(UPGRADE) --quiet --output-file requirements-dev.txt
	@$(BIN)/uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 \
	  --no-emit-index-url --no-header $(UPGRADE) --quiet --constraint requirements-dev.txt --output-file requirements.txt

tests/js/node_modules web/node_modules: %/node_modules: %/package-lock.json
	@if command -v npm >/dev/null; then cd $* && npm ci --silent && touch node_modules; \
	else echo "npm is not installed: what needs $@ is left out"; fi

clean: ## Remove the environment, the data of dev, and caches
	@rm -rf .venv .data gql_api/web web/node_modules web/src/gql tests/js/node_modules benchmarks/peers/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/ready: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "Preparing .venv, once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
