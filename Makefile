# Everything a newcomer needs. `make` lists it.
PYTHON ?= python3
VENV ?= .venv
FORKY ?= ../forky
BIN := $(VENV)/bin

# Even if the environment switches it off: without compiled tests, each process of `make test`
# compiles all tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo dev quick test own fleet records observability services browser deploy fuzz stress python314 lint format types imports bench interop docs clean

help:  ## List the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

# The virtual environment is made anew when what it holds changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "mediaserver needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt \
	  --editable '.[demo,openai,records,reload,sandbox]' --group test --group lint
	@touch $@

demo: $(VENV)/.installed  ## A whole call with speech on this machine: WAV, PNG and JSON in demo-output/
	@$(BIN)/mediaserver demo --output demo-output

dev: $(VENV)/.installed  ## A page with a phone, to talk to an agent that needs no key: examples/offline.py
	@$(BIN)/mediaserver dev examples/offline.py

quick: $(VENV)/.installed  ## In seconds: lint what differs from main, and run the tests that mirror it
	@$(BIN)/python -m tools.quick

test: $(VENV)/.installed  ## All tests in parallel, with the floors of branch coverage
	@COVERED=.coverage.json $(BIN)/python -m pytest -n auto --dist worksteal
	@$(BIN)/python -m tools.coverage_floors .coverage.json

own: $(VENV)/.installed  ## All tests again, slower: is each module covered by a test file of its own?
	@$(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-profile=gate --cov --cov-report=
	@$(BIN)/python -m tools.own_tests

# Program and Debian's package of it: root gets what is missing, and others are told what to install.
needs = PATH="$$PATH:/usr/sbin:$$(echo /usr/lib/postgresql/*/bin | tr ' ' :)" command -v $(1) >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	    || { echo "make $@ needs $(1): install Debian's package $(2)"; exit 1; }; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends $(2); } >/dev/null; }

fleet: $(VENV)/.installed  ## What needs Redis and HAProxy: tests, and a deploy under live calls; root gets both from Debian
	@$(call needs,redis-server,redis-server)
	@$(call needs,haproxy,haproxy)
	@MEDIASERVER_TESTS_NEED_REDIS=1 $(BIN)/python -m pytest -m fleet tests/server
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	@$(BIN)/python -m benchmarks.rolling --quick

records: $(VENV)/.installed  ## What needs PostgreSQL: tests of call records; root gets it from Debian
	@$(call needs,initdb,postgresql)
	@MEDIASERVER_TESTS_NEED_POSTGRES=1 $(BIN)/python -m pytest -m postgres tests/records

observability: $(VENV)/.installed  ## Alerts, rules and dashboards with promtool, which root gets from Debian
	@$(call needs,promtool,prometheus)
	@MEDIASERVER_TESTS_NEED_PROMTOOL=1 $(BIN)/python -m pytest -q tests/deploy

services: $(VENV)/.installed  ## What providers' own packages send and understand, against the local servers
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group services
	@$(BIN)/python -m pytest -q tests/agents/services/*/test_package.py

browser: $(VENV)/.installed  ## The page in a real Chromium, which root gets from Debian
	@command -v chromium-browser >/dev/null || $(call needs,chromium,chromium)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser
	@MEDIASERVER_TESTS_NEED_BROWSER=1 $(BIN)/python -m pytest -q tests/pages

deploy: $(VENV)/.installed  ## The files in deploy/ with the programs that read them; root gets those from Debian
	@$(call needs,nginx,nginx-light)
	@$(call needs,haproxy,haproxy)
	@$(call needs,caddy,caddy)
	@$(call needs,systemd-analyze,systemd)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group deploy
	@$(BIN)/python -m tools.deploy_check

fuzz: $(VENV)/.installed  ## The whole server with random inputs; FUZZ="--inputs 50000 --seconds 600" for more
	@$(BIN)/python -m tools.fuzz $(or $(FUZZ),--inputs 30000 --seconds 25)

stress: $(VENV)/.installed  ## The tests again and again while busy loops hold the cores; STRESS="--whole 0" for less
	@$(BIN)/python -m tools.stress $(STRESS)

python314:  ## The tests on Python 3.14, in a Debian root at FORKY that this makes; needs root and debootstrap
	@tools/debian_root.sh $(FORKY) make test PYTHON=python3.14 VENV=/opt/venv

lint: $(VENV)/.installed  ## Lint and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m tools.public_names

format: $(VENV)/.installed  ## Format, and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.installed  ## Types, strictly, of everything
	@$(BIN)/mypy

imports: $(VENV)/.installed  ## The import contracts
	@$(BIN)/lint-imports

bench: $(VENV)/.installed  ## Codecs, transport, playback and agents beside other packages
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	@$(BIN)/python -m benchmarks.codecs
	@$(BIN)/python -m benchmarks.transport
	@$(BIN)/python -m benchmarks.playback
	@-$(BIN)/python -m benchmarks.hostile
	@-$(BIN)/python -m benchmarks.workers
	@$(BIN)/python -m benchmarks.setups
	@$(BIN)/python -m benchmarks.control
	@$(BIN)/python -m benchmarks.records
	@$(BIN)/python -m benchmarks.start
	@$(BIN)/python -m benchmarks.noise
	@$(BIN)/python -m benchmarks.voice_activity
	@$(BIN)/python -m benchmarks.heard_words
	@$(BIN)/python -m benchmarks.sentences
	@$(BIN)/python -m benchmarks.agents
	@$(BIN)/python -m benchmarks.sessions
	@$(BIN)/python -m benchmarks.captures
	@$(BIN)/python -m benchmarks.browser_phone
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser
	@-$(BIN)/python -m benchmarks.page

interop/.venv/.installed: interop/requirements.txt interop/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make interop needs Python 3.11 or newer; try: make interop PYTHON=python3.11"; exit 1; }
	@test -x interop/.venv/bin/python || $(PYTHON) -m venv interop/.venv
	@echo "installing into interop/.venv …"
	@interop/.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@interop/.venv/bin/python -m pip install --quiet --constraint interop/constraints.txt \
	  --requirement interop/requirements.txt --editable '.[sandbox]'
	@touch $@

interop/node_modules/.installed: interop/package.json interop/package-lock.json
	@command -v npm >/dev/null \
	  || { echo "make interop needs Node.js 20 or newer, with npm: install the packages nodejs and npm"; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
	  || { echo "make interop needs Node.js 20 or newer, this is $$(node --version)"; exit 1; }
	@echo "installing into interop/node_modules …"
	@cd interop && npm ci --silent --ignore-scripts
	@touch $@

interop: interop/.venv/.installed interop/node_modules/.installed  ## Plivo's own SDKs, pipecat and servers gone wrong, on the sandbox
	@interop/.venv/bin/python -m pytest -c interop/pytest.ini -n 4 --dist worksteal interop/tests

docs: $(VENV)/.installed  ## Regenerate the generated pages
	@$(BIN)/python -m mediaserver.settings > docs/settings.md
	@$(BIN)/python -m tools.dashboards

clean:  ## Remove what the targets made
	rm -rf $(VENV) interop/.venv interop/node_modules demo-output dist build .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
