# Two front doors: `make demo` and `make test`. Both make .venv and install into it first; nothing else is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs clean

demo: $(VENV)/ready
	PATH="$(abspath $(BIN)):$$PATH" sh demo.sh

test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(VENV)/ready-to-develop
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/ready-to-develop
	$(BIN)/mkdocs build --strict

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "manyeyes needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,openvino]' || { \
	    echo 'simplejpeg or OpenVINO cannot be installed here: doing without, which is slower'; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .; }
	touch $@

$(VENV)/ready-to-develop: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo site
