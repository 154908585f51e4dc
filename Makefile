# One runner for people and for CI. It needs Python 3.10 or newer with venv, and GNU make.
#
#   make test PYTHON=python3.12 VENV=.venv-3.12       another interpreter, beside the first
#   make test VENV=.venv-lowest CONSTRAINTS=requirements/lowest.txt
#   make test PYTEST_ARGS="-k histogram --no-cov"
#
# A VENV keeps the interpreter and the constraints it was first made with.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_ARGS ?=
SOAK_ARGS ?=

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP = $(BIN)/python -m pip --disable-pip-version-check -qq install $(CONSTRAINTS:%=--constraint %)

# Folders too: one changes when a file in it goes away.
SOURCES := $(shell find otel_aioprom -not -path '*/__pycache__*')

VERSION_CHECK = import sys; print("ok" if sys.version_info >= (3, 10) else sys.version.split()[0])
VERSION_FOUND = $(shell $(PYTHON) -c '$(VERSION_CHECK)' 2>/dev/null || echo missing)
CHECK_PYTHON = $(if $(filter-out ok,$(VERSION_FOUND)),$(error \
	Python 3.10 or newer is needed, $(PYTHON) is $(VERSION_FOUND); name another, as in PYTHON=python3.12))

.DEFAULT_GOAL := help
.PHONY: help demo test lint types layers bench fuzz soak servers docs build clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(STAMPS)/package  ## serve the example shop's metrics on localhost:9464
	@$(BIN)/python examples/shop.py

test: $(STAMPS)/package $(STAMPS)/group-test  ## run every test on the installed package, with coverage
	@$(BIN)/pytest --cov $(PYTEST_ARGS)

lint: $(STAMPS)/group-lint  ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMPS)/package $(STAMPS)/group-lint  ## check the types
	@$(BIN)/mypy

layers: $(STAMPS)/group-lint  ## check who imports whom
	@$(BIN)/lint-imports

bench: $(STAMPS)/package $(STAMPS)/group-bench  ## measure, next to the other client libraries
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

fuzz: $(STAMPS)/package $(STAMPS)/group-test  ## a million odd inputs for the endpoint
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

soak: $(STAMPS)/package $(STAMPS)/group-bench  ## hostile load on everything, with servers that come and go; needs `make servers`
	@$(BIN)/python -m benchmarks.soak $(SOAK_ARGS)

servers:  ## fetch the servers that the integration tests talk to
	@$(CHECK_PYTHON)$(PYTHON) tools/servers.py

docs: $(STAMPS)/group-docs  ## build the documents into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict

# The wheel is tried alone: in a venv that holds nothing else, away from the checkout.
build: $(STAMPS)/group-build  ## build sdist and wheel, check them, try the wheel
	@rm -rf dist build
	@$(BIN)/python -m build
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/python -m venv build/venv
	@build/venv/bin/python -m pip --disable-pip-version-check -qq install dist/*.whl
	@build/venv/bin/python -I -W error tools/check_wheel.py

clean:  ## remove what was built, fetched or installed here
	rm -rf .venv* .cache build dist site .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Dependency groups need pip 25.1. The build backend is there so that a changed package is
# installed again without asking the network.
$(STAMPS)/base:
	@$(CHECK_PYTHON)$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade "pip>=25.1" "hatchling>=1.27"
	@mkdir -p $(STAMPS) && touch $@

# Isolated, because a dependency that comes as source brings a build backend of its own.
$(STAMPS)/dependencies: $(STAMPS)/base pyproject.toml $(CONSTRAINTS)
	@$(PIP) .
	@touch $@

$(STAMPS)/package: $(STAMPS)/dependencies $(SOURCES)
	@$(PIP) --no-build-isolation --no-deps .
	@touch $@

$(STAMPS)/group-%: $(STAMPS)/base pyproject.toml
	@$(PIP) --group $*
	@touch $@
