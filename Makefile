# Everything a person types here; each target is one thin command. `make help` lists them.
PYTHON ?= python3
PY := .venv/bin/python
SUBJECT ?= alice
MINUTES ?= 10

.PHONY: help run setup setup-dev token test check interop bench fuzz gen gen-check format lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Set everything up and serve in the foreground; Ctrl-C stops it
	@exec $(PY) -m server serve

setup: ## Prepare .venv to run
	@PYTHON=$(PYTHON) .ci/setup run

setup-dev: ## Prepare .venv to develop and test
	@PYTHON=$(PYTHON) .ci/setup dev

token: setup ## Print an access token of the local issuer: make token SUBJECT=alice
	@$(PY) -m server token "$(SUBJECT)"

test: setup-dev ## Run the tests that need nothing but Python
	@$(PY) -m pytest -m "not interop" $(ARGS)

check: setup-dev ## Format, lint, types, import contracts, protos, generated code
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/buf lint gen/sdk.binpb --path sdk
	$(PY) .ci/gen.py --check

interop: setup-dev ## Run the tests with outside tools: grpcurl, buf curl, an OIDC provider
	@.ci/tools
	@$(PY) -m pytest -m interop $(ARGS)

bench: setup-dev ## Measure speed and memory as ratios within one run
	@$(PY) -m bench

fuzz: setup-dev ## Fuzz the transcoder for a while: make fuzz MINUTES=10
	@$(PY) -m tests.fuzz --minutes $(MINUTES) $(ARGS)

gen: setup-dev ## Make gen/ from proto/; refuses a change that breaks what was published
	@$(PY) .ci/gen.py

gen-check: setup-dev ## Fail when gen/ is not what proto/ makes
	@$(PY) .ci/gen.py --check

format: setup-dev ## Format the code and mend what the linter can
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

lock: ## Renew both lock files from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade -o requirements.lock pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade -c requirements.lock --group dev -o requirements-dev.lock pyproject.toml

clean: ## Remove .venv and caches; the data in .data stays
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
