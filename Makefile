# make test: what a change must pass, from nothing but Python 3.11+, make and a C compiler. CI runs the sweeps, too.
PYTHON ?= python3
BIN := .venv/bin
ROOMS := android_harness benchmarks export model runtime training

# Another version formats otherwise
CLANG_FORMAT := $(shell command -v clang-format-14)
CPP := $(wildcard android_harness/native/*.?pp android_harness/app/library/src/main/cpp/*.cpp runtime/sampler/native/* tests/*.cpp tests/*/*.cpp tests/*/*/*.cpp tests/*/*.[ch])

# A thousand damaged inputs, ends at every call, and what sixty calls leave in their process: CI runs them, a developer's
# `make test` does not wait for them
SWEEPS := tests/hostile tests/interrupted tests/process

.PHONY: test setup lint format options types contracts unit sweeps coverage web fuzz kills avatar clean
test: lint types contracts unit

setup: .venv/.installed
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,export,identity,perception,qairt,openvino,ncnn,coreml,gpu,window,video,training,ray,serve]'
	$(BIN)/python -m bilayer.runtime.face.model_files
	touch $@

# A real photograph in the public domain to out/avatar.dlc and what belongs to it.
ASTRONAUT = $$($(BIN)/python -c 'from pathlib import Path; import skimage; print(Path(skimage.__file__).parent / "data" / "astronaut.png")')
avatar: setup
	mkdir -p out
	$(BIN)/bilayer-export "$(ASTRONAUT)" --out out/avatar.dlc --timings

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(CLANG_FORMAT),$(CLANG_FORMAT) --dry-run --Werror $(CPP),@echo "clang-format-14 is not installed: C++ is not checked" >&2)

options: setup
	$(BIN)/python -m tests.option_table

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(CLANG_FORMAT),$(CLANG_FORMAT) -i $(CPP))

# The rooms become bilayer.<room> at install time; a type checker and import-linter want to see them so on disk.
.types: Makefile $(wildcard bilayer/*)
	mkdir -p .types/bilayer && ln -sfn $(addprefix ../../,$(ROOMS) $(wildcard bilayer/*.*)) .types/bilayer/
	touch .types

types: setup .types
	$(BIN)/mypy

contracts: setup .types
	cd .types && ../$(BIN)/lint-imports --no-logo ../pyproject.toml --cache-dir ../.import_linter_cache

unit: setup
	$(BIN)/python -m pytest -n auto --dist worksteal --durations 40 --durations-min 5 $(addprefix --ignore ,$(SWEEPS))

sweeps: setup
	$(BIN)/python -m pytest -n auto --dist worksteal $(SWEEPS)

# The tests, and how much of the code they run: half as much time again, so not in `test`
coverage: setup
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term

# The page of runtime/web/page, of the TypeScript in web/: needs Node.js
web:
	cd web && npm ci --silent && npm run --silent build

# What no reader of a user's file may do, looked for by chance: MINUTES for each of TARGETS, or of all; what is found is kept
fuzz: setup
	$(BIN)/python -m tests.hostile.fuzz $(TARGETS) --minutes $(or $(MINUTES),1)

# Every command, killed, ended and out of disk at every call by which it changes files: hours, where CI tries a few calls
kills: setup
	$(BIN)/python -m pytest tests/interrupted --points $(or $(POINTS),0) --timeout 0 -s

clean:
	rm -rf web/node_modules .venv .types build dist *.egg-info .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
