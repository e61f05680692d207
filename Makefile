# make demo · make test    Each does its own set-up first; a second call skips it.
PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
READY := $(VENV)/.ready
UNFINISHED := $(VENV)/.unfinished
# pip's own progress is for a person at a terminal.
QUIET := $(shell test -t 2 || echo --quiet)

.PHONY: demo test test-slow check constraints FORCE

demo: $(READY)
	@$(BIN)/superinfo bench demo

# As many processes as there are cores, 8 at most for memory's sake; the cores are shared out among their threads.
test: $(READY)
	@cores=$$($(BIN)/python -c 'import os; print(len(os.sched_getaffinity(0)))'); jobs=$$((cores < 8 ? cores : 8)); \
	OMP_NUM_THREADS=$$((cores / jobs)) $(BIN)/python -m pytest -m "not slow" -n $$jobs --dist worksteal

test-slow: $(READY)
	@$(BIN)/python -m pytest -m slow

check: $(READY)
	@$(BIN)/python -m pytest tests/test_house.py

constraints: $(READY)
	@head -n 2 constraints.txt > constraints.new
	@$(BIN)/python -m pip freeze --all --exclude superinfo --exclude detectron2 --exclude pip \
		| grep -viE '^(nvidia|cuda|triton)' >> constraints.new
	@mv constraints.new constraints.txt
	@touch $(READY)

# The environment belongs to this checkout: an editable install made from another one is made again.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): FORCE
endif

# An environment that a killed set-up left unfinished, or whose pip does not run, is made anew. Any other one
# that exists is kept, with what is in it.
$(READY): pyproject.toml constraints.txt scripts/install_detectron2.py
	@set -e; say() { echo "set-up: $$*" >&2; }; \
	if test -e $(UNFINISHED) || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		command -v $(PYTHON) >/dev/null || { say "PYTHON=$(PYTHON) is not there: name a Python >= 3.11"; exit 2; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
			|| { say "PYTHON=$(PYTHON) is older than Python 3.11: name a newer one"; exit 2; }; \
		say "making $(VENV) with $$($(PYTHON) --version)"; \
		clear=; if test -e $(UNFINISHED) || test -e $(READY); then clear=--clear; \
		elif test -e $(VENV)/pyvenv.cfg; then say "$(VENV) is an environment without pip: add pip to it, or name another place"; exit 2; fi; \
		$(PYTHON) -m venv $$clear $(VENV); \
		touch $(UNFINISHED); \
	fi; \
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { say "the Python in VENV=$(VENV) is older than 3.11: name another place"; exit 2; }; \
	say "installing the pinned packages (PyTorch is large: some minutes)"; \
	$(BIN)/python -m pip --disable-pip-version-check install $(QUIET) -c constraints.txt "setuptools>=77" -e ".[test]"; \
	$(BIN)/python scripts/install_detectron2.py; \
	rm -f $(UNFINISHED); \
	echo "$(CURDIR)" > $(READY); \
	say "done"

FORCE:
