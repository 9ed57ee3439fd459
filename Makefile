# The tasks of churn-platform, for people and for CI alike. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
# Spark, in an environment of its own: never beside great-expectations.
SPARK := .venv-spark
# uv where there is one, else one of our own inside the environment.
UV := $(or $(shell command -v uv 2>/dev/null),$(VENV)/boot/bin/uv)
# python3 where it is 3.11, else whichever 3.11 uv finds.
PYTHON311 := $(shell $(PYTHON) -c 'import sys; print(sys.executable if sys.version_info[:2] == (3, 11) else "3.11")' 2>/dev/null || echo 3.11)

# A progress bar for people, silence for logs.
QUIET := $(shell test -t 2 || echo -q)

# Imports without bytecode take two to four times as long: a user's wish for none must not reach the demo.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup spark-env libgomp demo test lint types bench docs clean

help: ## list these tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: libgomp $(STAMP) ## make .venv from requirements.lock (finds uv, or installs it there)

$(STAMP): requirements.lock pyproject.toml
	@echo "setup: the packages of requirements.lock into $(VENV) (3 GB; half a minute to a few minutes)"
	@command -v $(UV) >/dev/null || { $(PYTHON) -m venv $(VENV)/boot && $(VENV)/boot/bin/pip install -q --disable-pip-version-check "uv>=0.9"; }
	@test -x $(BIN)/python || $(UV) venv -q --allow-existing --python $(PYTHON311) $(VENV)
	@$(UV) pip sync $(QUIET) --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q churn_platform assets sensors resources bentos
	@touch $@

spark-env: setup $(SPARK)/.synced ## make .venv-spark, where features can be computed on Spark (needs Java 17)

$(SPARK)/.synced: requirements-spark.lock
	@echo "spark-env: the packages of requirements-spark.lock into $(SPARK)"
	@test -x $(SPARK)/bin/python || $(UV) venv -q --allow-existing --python $(PYTHON311) $(SPARK)
	@$(UV) pip sync $(QUIET) --python $(SPARK)/bin/python --require-hashes requirements-spark.lock
	@touch $@

libgomp:
	@$(PYTHON) -c 'import ctypes, sys; sys.platform != "linux" or ctypes.CDLL("libgomp.so.1")' 2>/dev/null \
	|| { echo "setup: LightGBM needs libgomp, which is missing: apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora), apk add libgomp (Alpine)" >&2; exit 1; }

demo: setup ## from nothing to live endpoints; ARGS="--customers 2000 --exit" goes to `churn demo`
	@$(BIN)/churn demo $(ARGS)

test: setup ## the tests; ARGS="tests/monitoring -x" goes to pytest
	@$(BIN)/python -m pytest $(ARGS)

lint: setup ## ruff's rules and format, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: setup ## mypy, strict
	@$(BIN)/mypy

bench: setup ## every speed claim, measured against a named alternative; ARGS="--json"
	@$(BIN)/python -m benchmarks $(ARGS)

docs: setup ## the documentation into docs/_build/html; warnings are errors
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

clean: ## remove caches and built documentation; .venv and CHURN_HOME stay
	@rm -rf docs/_build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
