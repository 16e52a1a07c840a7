# `make` lists the targets. Everything happens in .venv; the network is needed for the set-up only.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?=
SLIDES ?=
PYTEST_ARGS ?=
INPUTS ?= 50000
RUNS ?= 200
SEED ?= 1

BIN := $(VENV)/bin
comma := ,
SET_UP := $(VENV)/.set-up$(if $(EXTRAS),-$(EXTRAS))
SET_UP_DEV := $(SET_UP)-dev
SOURCES := embedstore heads actors cli synthetic_slides benchmarks tools tests
# Compiled tests are kept, also where the environment asks Python to keep none: without them each process takes 8 s longer.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
# A file's tests stay in one process, which makes their stores once. A process takes up to 2 GB. On two cores a third
# process takes longer.
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
# Tests that start Ray or a browser mostly wait, and run beside the others, one at a time: a cluster takes 2 GB. They keep
# what failed for `--last-failed` in a folder of their own, and what they say in a file, which is shown at the end.
ONE_BY_ONE := -o cache_dir=.pytest_cache/waiting
BESIDE := build/test-beside.log
# Arguments may choose tests of one of the two kinds alone; pytest ends with 5 where there is none.
MAY_BE_NONE := $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])
# The page's own checks want Node and its packages; without them the page that is built is tested all the same.
PAGE_CHECKS := if $(MAKE) --silent viewer/node_modules; then $(MAKE) --silent viewer-check; \
  else echo "no Node, or its packages cannot be fetched: make viewer-check is left out"; fi
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast fuzz faults lint format bench gpu-check docs notebooks viewer viewer-check constraints clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  EXTRAS=cuda adds JAX for NVIDIA GPUs · PYTHON=python3.12 chooses the interpreter"

setup: $(SET_UP_DEV)  ## Make .venv with everything that tests, lint and docs need (once)

demo: $(SET_UP)  ## Slides to heat maps on six synthetic slides; or ingest yours: make demo SLIDES=folder
	$(BIN)/embedstore demo $(if $(SLIDES),"$(SLIDES)")

test: $(SET_UP_DEV)  ## Run every test: on every core, and beside them those that mostly wait, and the page's checks
	@mkdir -p $(dir $(BESIDE))
	{ status=0; \
	  $(PYTEST) -m "ray or browser" $(ONE_BY_ONE) $(PYTEST_ARGS) $(MAY_BE_NONE) || status=1; \
	  $(if $(PYTEST_ARGS),,$(PAGE_CHECKS) || status=1;) \
	  exit $$status; } > $(BESIDE) 2>&1 & beside=$$!; \
	status=0; \
	$(PYTEST) -m "not ray and not browser" $(SIDE_BY_SIDE) $(PYTEST_ARGS) $(MAY_BE_NONE) || status=1; \
	wait $$beside || status=1; \
	cat $(BESIDE); \
	exit $$status

test-fast: $(SET_UP_DEV)  ## Run the quick tests, in a minute, and a quarter of the examples of properties
	$(PYTEST) -m "not slow and not ray" $(SIDE_BY_SIDE) $(PYTEST_ARGS)

fuzz: $(SET_UP_DEV)  ## Try random changes of every kind of input: make fuzz INPUTS=50000 SEED=1
	FUZZ_INPUTS=$(INPUTS) FUZZ_SEED=$(SEED) $(PYTEST) tests/fuzz -n auto --maxprocesses 8 $(PYTEST_ARGS)

faults: $(SET_UP_DEV)  ## Let faults happen to commands, and check that nothing is lost: make faults RUNS=200 SEED=1
	$(BIN)/python -m tests.faults --runs $(RUNS) --seed $(SEED)

lint: $(SET_UP_DEV)  ## Check format, style and types
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy

format: $(SET_UP_DEV)  ## Format, and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(SET_UP_DEV)  ## Measure what ingest costs on slides: make bench SLIDES="a.svs b.svs"
	$(BIN)/python benchmarks/ingest.py cost $(SLIDES)

gpu-check: $(SET_UP_DEV)  ## Measure and check on a GPU, in six minutes; a second call goes on: make gpu-check OUT=gpu-check
	$(BIN)/python benchmarks/gpu_check --out $(or $(OUT),gpu-check) --seconds 330

notebooks: $(SET_UP_DEV)  ## Run the notebooks of docs/notebooks again and keep what they show
	$(BIN)/python docs/notebooks/run.py

docs: $(SET_UP_DEV)  ## Build the documentation into site/ (open site/index.html)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

viewer: $(SET_UP_DEV) viewer/node_modules  ## Build the page of viewer/ into embedstore/service/page (needs Node 20)
	$(BIN)/python tools/page.py build

viewer-check: $(SET_UP_DEV) viewer/node_modules  ## Check format and types of the page, and run its unit tests
	$(BIN)/python tools/page.py client
	cd viewer && npm run --silent check && npm run --silent test

constraints: $(SET_UP_DEV)  ## Write what is installed in .venv to constraints.txt
	{ sed -n '/^#/p' constraints.txt; \
	  $(BIN)/python -m pip freeze --exclude-editable --exclude embedstore \
	  | grep -viE '^(nvidia-|cuda-|jax-cuda|triton)|^-| @ ' | sed 's/+[a-z0-9.]*$$//'; } > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:  ## Remove caches, builds and the demo's output; .venv stays
	rm -rf demo demo-own site build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up, done over only when what is asked of it changes ---------------------------------

# No prerequisite: a newer system Python is no reason to make the environment again.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "embedstore needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(SET_UP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.$(if $(EXTRAS),[$(EXTRAS)])'
	$(BIN)/python tools/mend_torchvision.py
	@touch $@

$(SET_UP_DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) hatchling -e '.[dev,docs$(if $(EXTRAS),$(comma)$(EXTRAS))]'
	$(BIN)/python tools/mend_torchvision.py
	@touch $(SET_UP) $@

viewer/node_modules: viewer/package.json viewer/package-lock.json
	cd viewer && npm ci --silent
	@touch $@
