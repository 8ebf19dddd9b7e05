# sparsec: `make demo` and `make test` are the two commands that a fresh Debian or Ubuntu machine with Python needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq

# What an editable installation has to be made again for: its metadata, its C sources, and files that come or go.
INSTALLED_FROM := pyproject.toml $(wildcard runtime/native/*) $(shell find compiler passes frontends runtime -type d)

# Without a C compiler, the one in the PyPI package ziglang builds the runtime.
# (Its binary by path: pip builds in an environment of its own, in which `python -m ziglang` is not found.)
ifeq ($(shell command -v cc || command -v gcc || command -v clang),)
define use_zig
	@echo "== there is no C compiler: using the one in the package ziglang"
	@$(PIP) install ziglang
endef
ZIG_PATH := import os, ziglang; print(os.path.join(os.path.abspath(os.path.dirname(ziglang.__file__)), "zig"))
COMPILER := zig=$$($(BIN)/python -c '$(ZIG_PATH)') && CC="$$zig cc" LDSHARED="$$zig cc -shared"
endif

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean

help:
	@echo "make demo    install into .venv, then compile, verify and time a real sparse network"
	@echo "make test    install into .venv, then run the tests"
	@echo "make check   formatting, lint, types and import layers"
	@echo "make format  put the sources into the form that make check wants"
	@echo "make bench   compile, verify and time all networks that can be had"
	@echo "make clean   remove .venv and everything else that was made"

demo: $(VENV)/.demo
	@$(BIN)/python -m bench demo

test: $(VENV)/.dev
	@echo "== running the tests"
	@$(BIN)/python -m pytest -n auto -q

check: $(VENV)/.dev
	@echo "== ruff format" && $(BIN)/ruff format --check .
	@echo "== ruff check"  && $(BIN)/ruff check .
	@echo "== mypy"        && $(BIN)/mypy -p sparsec -p bench
	@echo "== imports"     && $(BIN)/lint-imports --no-cache

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format .

bench: $(VENV)/.demo
	@$(BIN)/python -m bench models

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "sparsec needs Python 3.11 to 3.13, and $(PYTHON) is another: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	@echo "== making a virtual environment in .venv"
	@$(PYTHON) -m venv $(VENV)

# $(1): what is said, $(2): extras
define install
	@echo "== installing sparsec and $(1) into .venv (the first time takes some minutes)"
	$(use_zig)
	@$(COMPILER) $(PIP) install --config-settings editable_mode=strict --editable '.[$(2)]'
	@touch $@
endef

$(VENV)/.demo: $(BIN)/python $(INSTALLED_FROM)
	$(call install,what the demo needs,verify)

$(VENV)/.dev: $(BIN)/python $(INSTALLED_FROM)
	$(call install,what its tests need,dev)
