# `make up` and `make test` are all that a user needs; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up test test-kafka chaos chaos-mutants mutants bench prove lint format protos docs lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# The pinned packages, the build backend among them, then both projects without dependencies.
$(VENV)/.installed: requirements.txt pyproject.toml clients/python/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("ChatRoom needs Python 3.11 or newer, but $(PYTHON) is %d.%d; try make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable clients/python --editable .
	@touch $@

up: $(VENV)/.installed ## Run the whole stack on this machine, no container needed (options: ARGS="--comets 2")
	@$(BIN)/chatroom up --config deploy/conf.conf $(ARGS)

test: $(VENV)/.installed ## Run the whole test suite against real servers that it starts itself
	@$(BIN)/python -m tests.support.suite test -n auto $(PYTEST_ARGS)

test-kafka: $(VENV)/.installed ## Run the integration and end-to-end suites against real Apache Kafka (needs Java 17 and Maven)
	@$(BIN)/python -m tests.support.suite test-kafka -n auto --kafka apache tests/integration tests/e2e $(PYTEST_ARGS)

chaos: $(VENV)/.installed ## Hurt the whole stack under load and account for every message (options: ARGS="--short --seed 7")
	@$(BIN)/python -m tests.chaos run $(ARGS)

chaos-mutants: $(VENV)/.installed ## Break each promise on purpose: the checker of `make chaos` must notice
	@$(BIN)/python -m tests.chaos mutants $(ARGS)

mutants: $(VENV)/.installed ## Put small faults into copies of the source: the tests must notice each (options: ARGS="room- --jobs 1")
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(VENV)/.installed ## Measure cost and speed against baselines, on real Redis and Apache Kafka (options: ARGS="--quick")
	@$(BIN)/python -m bench all $(ARGS)

prove: ## Run all proofs that are too long for the suite; commit their results (by hand, when their part changes)
	@$(MAKE) --keep-going --jobs=1 ARGS= mutants chaos chaos-mutants bench

lint: $(VENV)/.installed ## Check style, types, imports, generated code, the JavaScript client and Prometheus's rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.support.protos_unchanged
	@$(BIN)/python -m tests.support.client_types
	@$(BIN)/python -m tests.support.promtool

format: $(VENV)/.installed ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

protos: $(VENV)/.installed ## Regenerate the modules beside the .proto files
	@$(BIN)/python -m grpc_tools.protoc -I. --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --python_out=. --pyi_out=. --grpc_python_out=. --mypy_grpc_out=. protos/*.proto

docs: $(VENV)/.installed ## Write the table of settings in docs/operations.md anew
	@$(BIN)/python -m tests.support.settings_table

lock: ## Pin all packages anew in requirements.txt (hashes, no index line)
	@$(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/python -m pip install --quiet uv
	@.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-package chatroom-client --no-annotate --extra embedded --extra terminal --group dev --custom-compile-command "make lock" --output-file requirements.txt pyproject.toml
	@echo setuptools | .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-package chatroom-client --no-annotate --constraints requirements.txt --custom-compile-command "make lock" --output-file deploy/requirements.txt pyproject.toml -

clean: ## Remove what make and the stack left behind, the stack's data too
	rm -rf $(VENV) .chatroom .cache build dist *.egg-info clients/python/build clients/python/*.egg-info clients/javascript/node_modules .pytest_cache .mypy_cache .ruff_cache
