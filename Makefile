# Everything that people and CI do with this repository. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
EDITABLE := -e '.[dev]' $(foreach plugin,$(PLUGINS),-e $(dir $(plugin)))
COG := $(BIN)/cog -I scripts -n utf-8
COGGED := README.md docs/variants.md docs/cli.md docs/hooks.md docs/recipes.md docs/testing.md
STAMP := $(VENV)/.installed
# One thread a process: tests run two at a time, and tiny networks slow down badly when threads compete.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help demo test test-gpu test-alone soak lint docs docs-check bench sync catalogue-check bundle format clean

help: ## Show this.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt $(PLUGINS)
	@echo "Installing into $(VENV): some minutes, of which most are torch."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation $(EDITABLE)
	touch $@

demo: $(STAMP) ## Install everything and train WGAN-GP on 1,797 handwritten digits.
	$(ONE_THREAD) $(BIN)/zoo train wgan-gp --dataset digits --name demo-$$(date +%Y%m%d-%H%M%S)

test: $(STAMP) ## Run all tests, the plugins' included.
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not gpu'

soak: $(STAMP) ## Run what takes minutes: a training killed at 50 moments; recipes and damaged files at random.
	$(ONE_THREAD) $(BIN)/python tests/soak/kills.py
	$(ONE_THREAD) $(BIN)/python -m pytest tests/test_fuzz_recipes.py tests/test_fuzz_readers.py --hypothesis-profile=soak

test-gpu: $(STAMP) ## Run the tests that need a CUDA device.
	$(BIN)/python -m pytest -m gpu tests

test-alone: $(STAMP) ## Run each plugin's tests alone, against the core built as a wheel.
	ZOO_ALONE=$$(ls plugins | paste -sd, -) $(BIN)/python -m pytest tests/test_alone.py

lint: $(STAMP) ## Check format, style, types and the direction of imports.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## Write the generated parts of the documents anew.
	$(COG) -r $(COGGED)

docs-check: $(STAMP) ## Check that the generated parts of the documents are current.
	$(COG) --check --diff $(COGGED)

bench: $(STAMP) ## Run the benchmarks; they print ratios.
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/step.py

sync: ## Reinstall the packages' metadata and write the catalogue's `provides` anew.
	rm -f $(STAMP)
	$(MAKE) $(STAMP)
	$(BIN)/python scripts/sync_catalogue.py

catalogue-check: $(STAMP) ## Check registry.toml, and the plugins whose tables differ from those of BASE.
	$(BIN)/python scripts/check_catalogue.py $(if $(BASE),--base $(BASE)) $(if $(FIND_LINKS),--find-links $(FIND_LINKS))

bundle: $(STAMP) ## Gather the project's pure-Python wheels in bundle/, to be put on PYTHONPATH elsewhere.
	rm -rf bundle
	for package in . $(dir $(PLUGINS)); do $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir bundle/wheels $$package || exit 1; done
	$(BIN)/python -m pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir bundle/wheels click packaging pluggy tomli-w tqdm
	$(BIN)/python -m pip install --quiet --no-deps --no-index --target bundle/site bundle/wheels/*.whl
	@echo "Use it with: PYTHONPATH=bundle/site python -m zoo"

clean: ## Remove what was built; runs stay.
	rm -rf $(VENV) bundle build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
