# Everything a newcomer or a contributor types. Needs Python 3.11 or newer and, for the first `make run` or
# `make test`, a package index; after that no network.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_JOBS ?= 2
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What make test-system needs besides: a browser with Chinese fonts, a database, a sound server, what draws PDFs.
SYSTEM_PACKAGES := chromium fonts-noto-cjk libasound2-plugins libpango-1.0-0 libpangoft2-1.0-0 libportaudio2 \
                   postgresql pulseaudio pulseaudio-utils

.DEFAULT_GOAL := help
.PHONY: help run test test-system system-packages lint rules schemas golden bench bench-live desk

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

run: $(VENV)/.installed  ## score the sample calls with the bundled demo model, offline
	$(BIN)/analyzer score samples --offline
	@echo '复核：make desk，在浏览器中打开质检工作台 / review them in the browser: make desk'

desk: $(VENV)/.installed  ## open the review desk with every call scored under runs/
	$(BIN)/analyzer db import runs
	$(BIN)/analyzer serve --no-live

test: $(VENV)/.dev  ## all tests that need no server, browser or audio daemon: what CI runs
	$(BIN)/python -m pytest -n $(TEST_JOBS) -m "not system"

test-system: system-packages $(VENV)/.system  ## the tests that need a server, browser, audio daemon or cluster
	$(BIN)/python -m pytest -m system

system-packages:  # installs what is missing where it may; else names it
	@command -v dpkg-query > /dev/null || { echo 'not Debian: needs its own packages like $(SYSTEM_PACKAGES)'; exit 0; }; \
	missing=; for name in $(SYSTEM_PACKAGES); do \
	  dpkg-query --show --showformat='$${Status}' $$name 2> /dev/null | grep -q 'ok installed' || missing="$$missing $$name"; \
	done; \
	test -n "$$missing" || exit 0; \
	test "$$(id -u)" = 0 || { echo "first: sudo apt-get install$$missing" >&2; exit 1; }; \
	echo "installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing

lint: $(VENV)/.dev  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

rules: $(VENV)/.installed  ## the shipped rules: their cases, what is wrong with them, which clauses they cover
	$(BIN)/analyzer rules test
	$(BIN)/analyzer rules lint
	$(BIN)/analyzer rules coverage

schemas: $(VENV)/.installed  ## write docs/schemas of rule files, word lists, profiles and live messages anew
	@for name in rule words profile; do $(BIN)/analyzer rules schema $$name > docs/schemas/$$name.schema.json; done
	@$(BIN)/python -m analyzer.live.messages > docs/schemas/live.schema.json

golden: $(VENV)/.dev  ## compare the samples with their expected.json; ACCEPT=1 rewrites them
	$(BIN)/python -m samples.golden $(if $(filter 1,$(ACCEPT)),--accept)

bench: $(VENV)/.dev  ## the shorter measurements of bench/README.md; it names the others
	@set -e; for name in asr batch masking mono provisional report rules rules_speed vad; do echo "== $$name"; $(BIN)/python -m bench.$$name; done

bench-live: $(VENV)/.dev  ## live calls: latency and other policies, faults, an hour of four calls; takes about two hours
	@set -e; for name in live live_samples live_faults live_soak; do echo "== $$name"; $(BIN)/python -m bench.$$name; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP_INSTALL) 'pip>=25.1'
	$(PIP_INSTALL) --group dev
	@touch $@

$(VENV)/.system: $(VENV)/.dev
	$(PIP_INSTALL) --editable '.[pdf,ray,s3]'
	@touch $@
