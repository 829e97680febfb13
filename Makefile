# make demo   a study from data to HTML report, on simulated data (STUDY=landcover)
# make test   every check: style, types, unit tests, notebooks, JupyterLab in a browser; 17 minutes on two cores
# make quick  the same without notebooks, browser and slow tests, two minutes
# make lab    JupyterLab on this folder, with the first notebook
# make docs   the documentation, docs/_build/index.html
# Needs Python 3.11 to 3.13 and make, nothing else.

unexport PYTHONDONTWRITEBYTECODE  # set in many containers; forty processes would compile the package anew

STUDY ?= landcover
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal
READY := $(VENV)/.ready
# What git sees of a notebook has no outputs and nothing of the kernel that ran it; without nbstripout, all of it
STRIP = $(BIN)/nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill metadata.widgets $(patsubst %,metadata.language_info.%,codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer version)"
FILTER = if [ -x $(BIN)/nbstripout ]; then $(STRIP); else cat; fi

.PHONY: demo test quick lab docs filter lint tests clean

demo: $(READY)
	$(BIN)/eolab run $(STUDY) --profile smoke --jobs 2

test: $(READY)
	$(MAKE) --no-print-directory -j2 lint tests

quick: $(READY)
	$(MAKE) --no-print-directory -j2 lint tests SELECTED='-m "not notebook and not browser and not slow"'

tests: $(READY)
	$(PYTEST) $(SELECTED)

# style and types, beside the tests: make -j2 runs both
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	nice $(BIN)/mypy

lab: $(READY)
	$(BIN)/jupyter lab --ServerApp.root_dir='$(CURDIR)' notebooks/00_start_here.ipynb

docs: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build
	@echo "docs/_build/index.html"

filter:
	@! test -e .git || git config filter.notebooks.clean '$(FILTER)'

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "eolab needs Python 3.11, 3.12 or 3.13; none was found. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV), once: 1.4 GB to download, 4.8 GB on disk, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraints constraints.txt --editable '.[dask,distributed,fast,mlflow,ray,serve,stac,test,tune,zarr]'
	@$(MAKE) --no-print-directory filter
	@touch $@

clean:
	rm -rf $(VENV) runs data
