# `make demo` trains and draws digits, `make test` runs the tests, `make torture` breaks things on
# purpose, for half an hour, `make gpu` tests what runs on a GPU, without one, `make docs` builds the
# site in build/site, `make play` serves a page to play with, `make browser` tests it; all set up
# .venv first, once.
ifeq ($(OS),Windows_NT)
    PYTHON ?= python
    BIN := .venv/Scripts
else
    PYTHON ?= python3
    BIN := .venv/bin
endif

.PHONY: demo test torture gpu docs play browser
demo: .venv/installed
	$(BIN)/python examples/mnist_guided.py

test: .venv/installed
	$(BIN)/python -m pytest -n auto  # one process for each core

torture: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt atheris
	$(BIN)/python benchmarks/reliability/torture.py

gpu: .venv/installed
	$(BIN)/python tests/standins/gpu/build.py
	build/gpu/run -m pytest -n auto -m "(gpu or emulator) and not long" tests/gpu
	GPU_EMULATOR_CHECK=0 build/gpu/run -m pytest -n auto -m long tests/gpu
	build/gpu/run tests/gpu/plant_device_faults.py

docs: export NO_MKDOCS_2_WARNING := 1
docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/python -m mkdocs build --quiet

play: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[play]"
	$(BIN)/python -m minidiff play

browser: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	$(BIN)/python tests/browser/chromium.py
	$(BIN)/python -m pytest -m browser tests/browser

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[test]"
	$(BIN)/python -c "open('$@', 'w').close()"
