# Two commands for a newcomer: `make demo` and `make test`. Each does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check -q
TORCH := torch==2.13.0
SLOWEST := --durations=20 --durations-min=0.5

.PHONY: demo test check nightly bench interop lock readme clean

demo: $(VENV)/.installed-train
	$(BIN)/woolgather demo --out demo

# Two halves at a time: training keeps one core busy, everything else another.
test: $(VENV)/.installed-dev check
	@$(BIN)/pytest -m "not slow" tests/train $(SLOWEST) & training=$$!; \
	$(BIN)/pytest -m "not slow" tests --ignore=tests/train $(SLOWEST); others=$$?; \
	wait $$training && exit $$others

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

nightly: $(VENV)/.installed-dev
	$(BIN)/pytest --durations=20

bench: $(VENV)/.installed-train
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/mix.py
	$(BIN)/python benchmarks/language.py
	$(BIN)/python benchmarks/crawling.py
	$(BIN)/python benchmarks/packing.py

# Each trainer in an environment of its own, one after another: ten minutes, 5 GB at a time.
interop: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/interop.py

# torch comes first and alone: with it in place nothing pulls a build with CUDA.
$(VENV)/.installed-train: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("woolgather needs Python 3.11 or newer, got " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt $(TORCH)
	$(PIP) install -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-train
	$(PIP) install -c constraints.txt -e '.[train,dev]'
	touch $@

# Write the versions that are installed now as the new constraints.
lock: $(VENV)/.installed-dev
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) demo dist build

readme:
	$(BIN)/python docs/write_tree.py
