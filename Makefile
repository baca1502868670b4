# `make help` lists the targets. Everything is installed into .venv; a finished installation leaves a stamp there,
# so that the next one starts at once. The package is installed from here: `.venv/bin/facemtl` works in any folder. ARGS go to the command: make run ARGS=..., make test ARGS="-k tasks".

PYTHON ?= python3
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command 'make lock' $(ARGS)

.DEFAULT_GOAL := help
.PHONY: run test newest screenshots lint audit lock clean help

run: .venv/requirements-app.stamp  ## start the app and open its page
	@$(BIN)/python app.py --open $(ARGS)

# A file's tests run in one process, so that its fixtures are made once. The files with the longest tests come first.
test: .venv/requirements-dev.stamp  ## run all tests, on up to four cores, the browser tests in a Chromium
	@sh tests/install_chromium.sh $(BIN)/python
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

newest: .venv/requirements-dev.stamp  ## test the installed app with the newest versions that pyproject.toml allows
	@FACEMTL_NEWEST=1 $(BIN)/python -m pytest tests/test_deploy.py $(ARGS)

screenshots: .venv/requirements-dev.stamp  ## take the pictures of the app for the README
	@$(BIN)/python -m research.picture

lint: .venv/requirements-dev.stamp  ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

audit: .venv/requirements-dev.stamp  ## look for known vulnerabilities of the pinned dependencies (asks PyPI)
	@$(BIN)/pip-audit --requirement requirements.txt --no-deps --disable-pip --progress-spinner off

lock: .venv/requirements-dev.stamp  ## pin the dependencies of pyproject.toml (ARGS=--upgrade: newer versions)
	@$(COMPILE) pyproject.toml --extra train --output-file requirements.txt >/dev/null
	@$(COMPILE) pyproject.toml --constraint requirements.txt --output-file requirements-app.txt >/dev/null
	@$(COMPILE) pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt >/dev/null

clean:  ## remove .venv and caches; data, runs and assets stay
	rm -rf .venv .pytest_cache .ruff_cache
	find facemtl tests -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

.venv/%.stamp: %.txt | $(BIN)/pip
	@echo "Installing $< into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@# As pip would, but on all cores, and not the libraries' own tests; some files are for other Pythons.
	@$(BIN)/python -m compileall -q -j 0 -x '/(tests?|pip|setuptools)/' .venv/lib >/dev/null || true
	@touch $@

# pip is the last thing that `venv` writes: without it, an earlier attempt was interrupted.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 to 3.13." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "facemtl needs Python 3.11 to 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot create virtual environments." \
	    "On Debian and Ubuntu, install the package python3-venv." >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
