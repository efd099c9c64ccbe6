# `make demo` and `make test` set everything up in .venv on a machine with Python 3.11, make and a C++ compiler.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench conformance docs core clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip

$(VENV)/.build-tools: $(BIN)/python
	$(BIN)/pip install -q "scikit-build-core>=0.10" "nanobind>=2.4" "llvmlite>=0.44" ninja cmake
	@touch $@

# An editable install: Python files are used in place, the core is rebuilt when its sources changed.
core: $(VENV)/.build-tools
	@flock .build.lock $(BIN)/pip install -q --no-build-isolation --no-deps -e . -Ccmake.define.CMAKE_EXPORT_COMPILE_COMMANDS=ON

$(VENV)/.base: pyproject.toml | $(VENV)/.build-tools
	$(BIN)/pip install -q numpy llvmlite safetensors
	@touch $@

$(VENV)/.examples: pyproject.toml | $(VENV)/.base
	$(BIN)/pip install -q scikit-learn matplotlib tqdm
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.examples
	$(BIN)/pip install -q pytest pytest-timeout pytest-xdist mpmath torch==2.13.0 tensorboardX tensorboard networkx onnx onnxruntime onnxscript typer rich
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.test
	$(BIN)/pip install -q ruff mypy clang-format import-linter
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.test
	$(BIN)/pip install -q jax openvino tensorflow-cpu paddlepaddle
	@touch $@

demo: core $(VENV)/.examples
	$(BIN)/python examples/digits.py

# Two processes with half of the tests each; the one that is done first takes over from the other. Says which are slowest.
test: core $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=30

lint: core $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror core/*.h core/*.cpp

bench: core $(VENV)/.bench
	$(BIN)/python -m benchmarks

# ONNX's backend test suite: counts by group, and each failure with its reason.
conformance: core $(VENV)/.test
	$(BIN)/python tools/conformance.py

# The operators' reference pages, from their blocks, into build/docs.
docs: core $(VENV)/.base
	$(BIN)/python tools/make_docs.py build/docs

clean:
	rm -rf build .venv
