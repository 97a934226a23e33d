# The verbs people use:  make demo | test | check | bench.  `make help` lists the rest.
SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?=
VENV := .venv
PY := $(VENV)/bin/python
CORE_VERSION := 3.11
CORE_VENV := .venv-$(CORE_VERSION)
CORE_PY := $(CORE_VENV)/bin/python
PIP_FLAGS := --disable-pip-version-check --no-input --quiet --constraint constraints.txt

RUN := runs/demo
CHECKPOINT := $(RUN)/model.safetensors
NETWORK := $(RUN)/tiny.net
DEMO_WINDOWS := 300
STEPS_WINDOWS := 4

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.installed ## the whole project with Lava and torch, Python 3.10, into .venv

$(VENV)/.installed: pyproject.toml constraints.txt tools/find_python.sh
	@set -e; python=$$(PYTHON="$(PYTHON)" tools/find_python.sh 3.10); \
	echo "Installing into $(VENV) with $$python (torch and Lava: a few minutes, about 6 GB)"; \
	"$$python" -m venv $(VENV)
	@$(PY) -m pip install $(PIP_FLAGS) --editable '.[train,slayer,cluster,dev]'
	@touch $@

$(CORE_VENV)/.installed: pyproject.toml constraints.txt tools/find_python.sh
	@set -e; python=$$(tools/find_python.sh $(CORE_VERSION)); \
	echo "Installing the base into $(CORE_VENV) with $$python (neither torch nor Lava)"; \
	"$$python" -m venv $(CORE_VENV)
	@$(CORE_PY) -m pip install $(PIP_FLAGS) --editable '.[cluster,dev]'
	@touch $@

.PHONY: demo
demo: $(RUN)/sim/run.json $(RUN)/steps/run.json ## train, export, simulate in Lava, price: everything lands in runs/demo
	@echo
	@$(PY) energy_report.py $(RUN)/sim --out $(RUN)/report --summary
	@echo "$(RUN)/: model.safetensors, curves.png, tiny.net; $(RUN)/sim/: trace.h5, detections.json, truth.json, run.json"
	@$(PY) energy_report.py $(RUN)/steps --summary > /dev/null
	@echo; echo "Open $(RUN)/report/report.html in a browser; $(RUN)/steps/report/report.html shows $(STEPS_WINDOWS) windows step by"
	@echo "step, with a slider. make retrain starts over."

# Order only: installing anew does not make a trained network stale.
$(CHECKPOINT): | $(VENV)/.installed
	$(PY) train.py --preset tiny --out $(RUN)

$(NETWORK): $(CHECKPOINT)
	$(PY) export_netx.py $(CHECKPOINT) --out $(NETWORK)

$(RUN)/sim/run.json: $(NETWORK)
	$(PY) run_lava.py $(NETWORK) --backend sim --windows $(DEMO_WINDOWS) --checkpoint $(CHECKPOINT) --out $(RUN)/sim

# All spikes of a few windows, for the slider: those of all windows would fill the disk.
$(RUN)/steps/run.json: $(NETWORK)
	@$(PY) run_lava.py $(NETWORK) --backend fast --windows $(STEPS_WINDOWS) --probe all --out $(RUN)/steps > /dev/null

.PHONY: retrain
retrain: ## forget the demo's results, then make demo
	rm -rf $(RUN)
	@$(MAKE) demo

.PHONY: test
test: $(VENV)/.installed ## all tests that finish in minutes
	$(PY) -m pytest -q

.PHONY: test-long
test-long: $(VENV)/.installed ## the long equality runs too: 500 networks through Lava, hours
	$(PY) -m pytest -q -m "long or not long"

.PHONY: test-core
test-core: $(CORE_VENV)/.installed ## what needs neither torch nor Lava, on Python 3.11
	$(CORE_PY) -m pytest -q

.PHONY: check
check: $(VENV)/.installed ## lint, format, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

.PHONY: format
format: $(VENV)/.installed ## mend what lint and format can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: bench
bench: $(VENV)/.installed ## ratios measured side by side on this machine
	$(PY) -m benchmarks

.PHONY: reports
reports: $(VENV)/.installed ## reports of known networks: energy, fit, steps, into runs/reports
	$(PY) -m benchmarks.reports

.PHONY: clean
clean: ## remove environments, caches and results
	rm -rf $(VENV) .venv-* runs build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
