# make demo | test | bench | lint | clean.  PYTHON chooses the interpreter: `make test PYTHON=python3.12`.
# Each environment is made once; later runs only check stamps.  One for each PYTHON that is asked for by name, so that
# several live side by side; the default one is .venv, made anew when `python3` has become another interpreter.

PYTHON ?= python3
JOBS ?= 2
ARGS ?=

IDENTITY := $(shell $(PYTHON) -c 'import sys, zlib; v = sys.version_info; assert v >= (3, 11); print("%d.%d.%d-%08x" % (*v[:3], zlib.crc32(sys.executable.encode())))' 2>/dev/null)
ifeq ($(IDENTITY),)
ifneq ($(MAKECMDGOALS),clean)
$(error pytorchlike needs Python 3.11 or later, which "$(PYTHON)" is not: name another, as in `make test PYTHON=python3.12`)
endif
endif

ifeq ($(origin PYTHON),file)
VENV := .venv
else
VENV := .venv-$(word 1,$(subst -, ,$(IDENTITY)))
endif
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps-$(IDENTITY)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: demo test bench lint clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/demo
	@$(BIN)/python examples/digits.py $(ARGS)

test: $(STAMPS)/test
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

bench: $(STAMPS)/base
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(STAMPS)/dev
	@$(BIN)/ruff check .

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(STAMPS)/venv:
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/base: $(STAMPS)/venv pyproject.toml
	@echo "installing pytorchlike into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(STAMPS)/demo $(STAMPS)/test $(STAMPS)/dev: $(STAMPS)/%: $(STAMPS)/venv pyproject.toml
	@echo "installing pytorchlike[$*] into $(VENV)"
	@$(PIP) -e '.[$*]'
	@touch $@
