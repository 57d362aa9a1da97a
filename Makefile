# The commands people use daily; `make` alone lists them.

PYTHON ?= python3
# Tests beside each other. Most of them wait for real servers and processes, so a few more than there are processors.
JOBS ?= 3
BIN := .venv/bin
SET_UP = @command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed." >&2; \
	echo "  fix: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.12 $@" >&2; exit 1; }; \
	$(PYTHON) bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help demo test lint fmt soak bench bench-store bench-eta bench-peers set-up clean

help: ## Lists these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Runs a whole example task, from a fresh clone with nothing but Python.
	$(SET_UP) runtime
	@$(BIN)/taskmark run tasks/investment-committee-meeting.md \
		--input ticker=SP500 --input amount=250000 --input timeHorizon=long --input riskTolerance=high

test: lint ## Runs what CI runs: lint, types, import contracts, all tests, coverage.
	@$(BIN)/python -m pytest -q -m "not soak" -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		--cov --cov-report=term --cov-report=json:.coverage.json \
		|| { test $$? = 1 && $(BIN)/python .ci/second_look.py 5; }
	@$(BIN)/python .ci/coverage_gate.py .coverage.json 95

lint: ## Checks style, formatting, types and the direction of imports.
	$(SET_UP) dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: ## Formats the code and repairs what can be repaired.
	$(SET_UP) dev
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

soak: ## Runs the tests in their full sizes; hours.
	$(SET_UP) dev
	@$(BIN)/python -m pytest -m soak --timeout=0 -o faulthandler_timeout=0
	@TASKMARK_TEST_UNCACHED=1 $(BIN)/python -m pytest tests/workflows -m "not soak" --timeout=0 -o faulthandler_timeout=0

bench: ## Measures what benchmarks/README.md describes; minutes.
	$(SET_UP) dev
	@for part in lint small layers engine control agents; do \
		$(BIN)/python benchmarks/$$part.py --save .taskmark-bench/$$part.json || exit 1; echo; done
	@$(BIN)/python benchmarks/store.py --rows 50000 --save .taskmark-bench/store.json
	@echo "The same as JSON is in .taskmark-bench."

bench-store: ## Measures the history store with a million attempts; half an hour.
	$(SET_UP) dev
	@$(BIN)/python benchmarks/store.py --save .taskmark-bench/store-1000000.json

bench-eta: ## Measures how good estimates of the remaining time are; a quarter of an hour.
	$(SET_UP) dev
	@$(BIN)/python benchmarks/eta.py --save .taskmark-bench/eta.json
	@$(BIN)/python benchmarks/eta_real.py --save .taskmark-bench/eta-real.json

bench-peers: ## Compares with DBOS and Prefect, which it installs apart; half an hour.
	$(SET_UP) dev
	@$(BIN)/python benchmarks/peers_set_up.py
	@$(BIN)/python benchmarks/peers.py --save .taskmark-bench/peers.json
	@echo "The same as JSON is in .taskmark-bench."

set-up: ## Only makes .venv and gets the Temporal server.
	$(SET_UP) dev

clean: ## Removes what can be made again; executions in .taskmark stay.
	@rm -rf .venv .venv-peers .taskmark-bench .coverage* htmlcov dist build *.egg-info
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
