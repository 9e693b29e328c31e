# Nothing needs to be set up first: every target makes .venv ready when it is not.

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-guests lint format check clean

help:
	@echo 'make demo     profile the bundled guest'
	@echo 'make test     run all tests (ARGS="-k words" to choose)'
	@echo 'make test-guests  the same questions to many kernels (docs/guests.md); large downloads'
	@echo 'make lint     style, types and layering'
	@echo 'make format   put the code in form'
	@echo 'make check    lint and test'
	@echo 'make setup    only create .venv and install what is missing'
	@echo 'make clean    remove .venv and everything that was generated'

setup:
	@scripts/bootstrap

demo: setup
	@$(BIN)/gprof demo $(ARGS)

test: setup
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-guests: setup
	@$(BIN)/python -m pytest -m generations -o faulthandler_timeout=900 tests/guests $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check: lint test

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
