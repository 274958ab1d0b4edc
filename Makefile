# `make study` and `make test` are all a new machine with Python 3.11 and pip needs.
PYTHON ?= python3
VENV ?= .venv
STUDY ?= config/config.yaml
SETUP := $(VENV)/.set-up
BIN := $(VENV)/bin

.PHONY: study smoke test docs validation lint

study: $(SETUP)  ## run the study in STUDY to figures, tables, audit.json and report.html
	$(BIN)/snakemake --configfile $(STUDY)

smoke: $(SETUP)  ## run the smallest real study
	$(BIN)/snakemake --configfile config/examples/smoke.yaml

test: $(SETUP)  ## run all tests
	$(BIN)/python -m pytest

docs: $(SETUP)  ## write the generated pages again
	$(BIN)/python -m emodrift.study.reference

validation: $(SETUP)  ## plant truths and see that they are found: docs/validation.md
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m validation

lint: $(SETUP)
	$(BIN)/ruff check workflow tests validation && $(BIN)/ruff format --check workflow tests validation

$(SETUP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "emodrift is pinned for Python 3.11: set PYTHON=python3.11"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@
