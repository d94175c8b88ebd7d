# From nothing but Python 3.12 with pip (or uv) and make: every target first creates the environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Waiting threads that spin starve the others where processes outnumber cores (torchrun, tests beside anything else).
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0

# The machine's own certificates, as pip takes them too: behind a proxy uv's built-in list is not enough.
export UV_SYSTEM_CERTS ?= 1

.PHONY: demo test test-slow check lock clean

demo: $(READY)
	$(BIN)/hanlm run demo --out runs/demo

# Files of tests side by side; the slow ones use several processes themselves.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The recipe first and alone: it trains for so many seconds.
test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not gpu" tests/e2e
	$(BIN)/python -m pytest -m "slow and not gpu" --ignore tests/e2e --numprocesses 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

$(READY): requirements.lock pyproject.toml
	@echo "creating .venv (about 6 GB; the first time the packages are downloaded)"
	@if uv --version >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python 3.12 .venv && \
	  uv pip install --quiet --compile-bytecode --python .venv --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python .venv --no-deps --no-build-isolation -e . ; \
	else \
	  $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 12) else f"HanLM needs Python 3.12 or newer, this is {v[0]}.{v[1]}: make PYTHON=python3.12")' && \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

# Needs uv. The lock is in requirements form, names no index, and covers every platform by markers.
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.12 --generate-hashes --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf .venv runs/demo
