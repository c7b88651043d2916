# The two commands of README: `make demo` runs the main job, `make test` passes the tests. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types lock clean

demo: $(VENV)/.ready
	$(BIN)/patchmosaic demo --out demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

# The stamp is written last: an interrupted installation is done again.
KERNEL := CMakeLists.txt $(wildcard src/patchmosaic/engine/native/*pp)

$(VENV)/.ready: pyproject.toml constraints.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Renew constraints.txt from the environment at hand; the local part of torch's version is not part of the
# promise, and what builds the kernel lives in no environment.
lock: $(VENV)/.ready
	grep -E '^(nanobind|scikit-build-core)==' constraints.txt > constraints.build
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f - constraints.build > constraints.txt
	rm constraints.build

clean:
	rm -rf $(VENV) demo
