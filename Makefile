# Every target sets up what it needs. `make` lists them.
#
#   PYTHON  the Python to make the environment with (3.11 to 3.13)
#   VENV    where the environment lives
#   PYTEST  extra options for pytest, e.g. PYTEST="-n 2 -x"

PYTHON ?= python3
VENV ?= .venv
PYTEST ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# One thread a process: stored outputs are the same on every number of cores, and two test
# processes do not fight. Override with OMP_NUM_THREADS=... for long training runs.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
# Progress bars are for people; stored outputs and logs do without.
TQDM_DISABLE ?= 1
export TQDM_DISABLE

.DEFAULT_GOAL := help
.PHONY: help setup book strict test notebooks figures ablations reproduce benchmark-digits bench lint clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

# Installs once; again only when the requirements change.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[book,test]"
	touch $@

setup: $(READY) ## make the environment (about 2 minutes and 6 GB, once)

book: $(READY) ## build the book: open _build/html/index.html
	$(BIN)/jupyter-book build book/

strict: $(READY) ## build every page anew, with warnings as errors
	$(BIN)/jupyter-book build --all -W --keep-going -n book/

test: $(READY) ## run all tests, and every chapter against its stored outputs
	$(BIN)/python -m pytest --nbval $(PYTEST)

notebooks: $(READY) ## run all chapters anew and store their outputs
	$(BIN)/python book/_ext/run_chapters.py

figures: $(READY) ## draw the figure of the README
	$(BIN)/python -m bcnet_lib.plots

# make ablations PROFILE=digits ONLY="components base_width" JOBS=2 MINUTES=25 DEVICE=cuda
# BACKEND=dask SCHEDULER=tcp://host:8786 sends the work to a cluster.
PROFILE ?= smoke
ONLY ?=
JOBS ?= 1
MINUTES ?=
DEVICE ?= cpu
BACKEND ?=
SCHEDULER ?=
ablations: $(READY) ## run the experiments: make ablations PROFILE=digits JOBS=2
	env -u TQDM_DISABLE $(BIN)/python -m bcnet_lib.ablations --profile $(PROFILE) --jobs $(JOBS) \
	  --device $(DEVICE) $(if $(ONLY),--only $(ONLY)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(BACKEND),--backend $(BACKEND)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

reproduce: $(READY) ## compute the committed records anew and compare: make reproduce JOBS=2
	env -u TQDM_DISABLE $(BIN)/python -m bcnet_lib.reproduce --profile $(if $(filter-out smoke,$(PROFILE)),$(PROFILE),digits) \
	  --jobs $(JOBS) --device $(DEVICE) $(if $(ONLY),--only $(ONLY))

benchmark-digits: $(READY) ## train all networks of Channel-Bench-Digits anew (50 minutes of processor time)
	env -u TQDM_DISABLE $(BIN)/python -m bcnet_lib.digits_bench

bench: $(READY) ## measure speed and memory of the library
	$(BIN)/python -m tests.bench

lint: $(READY) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove everything built (the environment stays)
	rm -rf _build build *.egg-info .pytest_cache .hypothesis .ruff_cache
	find bcnet_lib book tests -name __pycache__ -type d -prune -exec rm -rf {} +
