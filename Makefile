# Everyday commands; `make` lists them. Nothing here is needed to use the wizard: ./run is enough.
SHELL = /bin/sh
PYTHON = $${BAI_WIZARD_VENV:-.venv}/bin/python
DEMO = bare
COUNT = 20
.DEFAULT_GOAL = help

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

.PHONY: setup
setup: ## create .venv with the development tools
	@checkout='$(CURDIR)' group=dev; . tests/tools/environment.sh; echo "$$venv is ready"

.PHONY: demo
demo: ## open the wizard on a simulated node: DEMO=bare, half, broken, finished
	@./run --demo $(DEMO)

.PHONY: check
check: ## static checks: ruff, mypy, import rules, dependencies
	@./test --static

.PHONY: fix
fix: setup ## let ruff fix and format the code
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

.PHONY: test
test: ## static checks, then every test that this machine can run
	@./test

.PHONY: all
all: ## as root: also node and VM tests, with the programs that they need
	@./test --all

.PHONY: schema
schema: setup ## write the JSON Schema of the answers
	@$(PYTHON) -m bai_wizard.answers.schema

.PHONY: pins
pins: setup ## pin the dependencies in pyproject.toml with their hashes
	@$(PYTHON) -m tests.tools.pin_requirements

.PHONY: mutate
mutate: setup ## edit COUNT places of the code; show what no test notices. SEED draws them
	@$(PYTHON) -m tests.tools.mutate --count $(COUNT) $${SEED:+--seed $$SEED}

.PHONY: catalog
catalog: setup ## update and compile the catalogs of translations
	@$(PYTHON) -m tests.tools.make_catalog

.PHONY: screenshots
screenshots: setup ## make the screenshots of the README
	@$(PYTHON) -m tests.tools.make_screenshots

.PHONY: console
console: setup ## Textual's developer console; then run: TEXTUAL=devtools make demo
	@$(PYTHON) -m pip install --quiet textual-dev
	@$${BAI_WIZARD_VENV:-.venv}/bin/textual console

.PHONY: bench
bench: setup ## as root: compare with bash, pyinfra, Ansible and testinfra on a container node
	@$(PYTHON) -m tests.bench.converged 9 --peers
