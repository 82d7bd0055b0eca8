# One word per chore; the pipeline runs the same words.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test lint bench docs clean

help:
	@echo 'make install   everything into $(VENV): the tool, the lab, what the tests need'
	@echo 'make demo      one real experiment on a real shop, to its HTML report'
	@echo 'make test      all tests'
	@echo 'make lint      ruff, mypy --strict, import contracts'
	@echo 'make bench     every performance figure the README quotes, measured here'
	@echo 'make docs      the reference pages, from the code'

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("chaoskit needs Python 3.11 or later: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,uvloop]' --group dev
	@touch $(STAMP)

demo: install
	$(BIN)/chaoskit run experiments/payments-black-holed.yaml --variant protected

# Tests that put a target up measure time, so they do not share the machine with others.
test: install
	$(BIN)/python -m pytest -q -m 'not live' -n auto
	$(BIN)/python -m pytest -q -m live

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: install
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: install
	$(BIN)/python docs/reference.py

clean:
	rm -rf $(VENV) $(filter-out reports/sample/,$(wildcard reports/*/)) .mypy_cache .ruff_cache .pytest_cache
