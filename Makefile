# `make demo` trains and draws digits, `make test` runs the tests; both set up .venv first, once.
PYTHON ?= python3

.PHONY: demo test
demo: .venv/installed
	.venv/bin/python examples/mnist_guided.py

test: .venv/installed
	.venv/bin/python -m pytest

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
