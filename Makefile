# Each target sets itself up: virtual environment, install, demo data.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test lint clean

demo: $(VENV)/demo  ## out/report.html from real photos on two cores
	dvc repro
	@echo "open out/report.html"

test: $(VENV)/dev  ## lint, types, layers, tests
	ruff check . && ruff format --check . && mypy && lint-imports
	pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev  ## mend what ruff can mend
	ruff check --fix . && ruff format .

$(VENV)/demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[demo]"
	touch $@

$(VENV)/dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[demo,dev]"
	touch $@

clean:
	rm -rf $(VENV) out
