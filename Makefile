# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The system's own interpreter, 3.11 or newer; PYTHON=... overrides.
PYTHON ?= $(shell for p in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, ssl; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := shared services/checkout services/webhook-ingest services/inventory services/fulfillment services/refunds services/notifications services/operations sandbox
LOCAL := payments-shared payments-checkout payments-webhook-ingest payments-inventory payments-fulfillment payments-refunds payments-notifications payments-operations payments-sandbox
export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: setup
setup: $(VENV)/.ready ## Make the virtual environment

$(VENV)/.ready: requirements-dev.lock pyproject.toml shared/pyproject.toml $(wildcard services/*/pyproject.toml) sandbox/pyproject.toml
	@PYTHON="$(PYTHON)" sandbox/bootstrap "$(VENV)" $(PROJECTS)
	@touch $@

.PHONY: lock
lock: ## Resolve the dependencies again and pin them by hash
	$(BIN)/uv pip compile -q pyproject.toml --universal --generate-hashes --python-version 3.11 --no-header $(LOCAL:%=--no-emit-package %) -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --generate-hashes --python-version 3.11 --no-header $(LOCAL:%=--no-emit-package %) -o requirements-dev.lock

.PHONY: lint
lint: setup ## ruff, mypy --strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: test
test: setup lint ## The whole suite against real PostgreSQL and RabbitMQ
	$(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: chaos
SEED ?= 1
DURATION ?= 120
RATE ?= 18
chaos: setup ## Faults drawn from SEED for DURATION seconds while RATE people a second buy
	@$(BIN)/python -m tests.faults.chaos --seed $(SEED) --duration $(DURATION) --rate $(RATE) $(if $(EVIDENCE),--evidence $(EVIDENCE)/chaos-$(SEED).md)

.PHONY: faults
faults: setup ## The long forms of the faults, with their tables, into docs/evidence
	PAYMENTS_EVIDENCE=docs/evidence $(BIN)/python -m pytest -m full -n0 -s tests/faults

.PHONY: long
long: setup ## The long forms of checkout, refunds and the documents, with their tables, into docs/evidence
	PAYMENTS_EVIDENCE=docs/evidence $(BIN)/python -m pytest -m full -n0 -s tests/checkout tests/refunds tests/contracts

.PHONY: mutants
mutants: setup ## Mistakes made on purpose, each of which a test must see, into docs/evidence
	@$(BIN)/python -m tests.mutants $(MUTANTS) $(if $(MUTANTS),,--evidence docs/evidence/mutants.md)

.PHONY: pages
pages: setup ## Pictures of all pages, anew, into docs/pages
	@command -v pngquant >/dev/null || { echo "pngquant is missing; run: sudo apt-get install -y pngquant" >&2; exit 1; }
	PAYMENTS_SCREENSHOTS=$(CURDIR)/docs/pages $(BIN)/python -m pytest -n0 -q tests/browser
	pngquant --force --ext .png --strip 128 docs/pages/*.png

.PHONY: dr-drill
dr-drill: setup ## Lose database and broker, restore to a moment, heal, and audit; 20,000 orders
	@$(BIN)/python -m sandbox.drill $(if $(ORDERS),--orders $(ORDERS)) $(if $(EVIDENCE),--evidence $(EVIDENCE)/dr-drill.md)

.PHONY: demo
demo: setup ## Start everything, buy something, show what happened
	@$(BIN)/python -m sandbox.demo

.PHONY: servers
servers: setup ## Start PostgreSQL and RabbitMQ and print how to use them, until Ctrl-C
	@$(BIN)/python -m sandbox.services

.PHONY: bench bench-ingest bench-idle bench-checkout bench-refunds bench-consumer bench-relay bench-end-to-end bench-storm bench-growth bench-consoles bench-peers
bench: bench-ingest bench-idle bench-checkout bench-refunds bench-consumer bench-relay bench-end-to-end bench-storm bench-growth bench-consoles bench-peers ## All benches
bench-ingest: setup ## The webhook endpoint against a handler that only verifies
	@$(BIN)/python -m bench.ingest $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-ingest.md)
bench-idle: setup ## The memory of each service that does nothing
	@$(BIN)/python -m bench.idle
bench-consumer: setup ## Consumers that apply messages in batches, against one by one
	@$(BIN)/python -m bench.consumer $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-consumer.md)
bench-relay: setup ## The relay that drains a filled outbox
	@$(BIN)/python -m bench.relay $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-relay.md)
bench-end-to-end: setup ## From a webhook to checkout's commit, at constant rates, against the plain shape
	@$(BIN)/python -m bench.end_to_end $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-end-to-end.md)
bench-checkout: setup ## From a cart to Stripe's page, in a young shop and in an old one
	@$(BIN)/python -m bench.checkout $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-checkout.md)
bench-refunds: setup ## How fast a refund is decided, and five hundred about one order
	@$(BIN)/python -m bench.refunds $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-refunds.md)
bench-storm: setup ## 25,000 shuffled and repeated webhooks, all services, every effect once
	@$(BIN)/python -m bench.storm $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-storm.md)
bench-growth: setup ## Ten times the rows, and the same rates
	@$(BIN)/python -m bench.growth $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-growth.md)
bench-consoles: setup ## A thousand open consoles, and searches among a hundred thousand dead letters
	@$(BIN)/python -m bench.consoles $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-consoles.md)
bench-peers: setup ## Our webhook endpoint beside dj-stripe's and stripe-sync-engine's, which are fetched
	@$(BIN)/python -m bench.peers $(if $(EVIDENCE),--evidence $(EVIDENCE)/bench-peers.md)

.PHONY: demo-compose
demo-compose: ## The same, all in containers
	@deploy/make-env
	docker compose -f deploy/compose.yaml up --build

.PHONY: contracts
contracts: setup ## Write docs/contracts, docs/openapi, docs/permissions.md and docs/metrics.md anew; refuses what would break readers of messages
	@$(BIN)/python -m payments_shared.contracts docs/contracts
	@$(BIN)/python -m payments_shared.http docs/openapi
	@$(BIN)/python -m payments_shared.permissions docs/permissions.md
	@$(BIN)/python -m payments_shared.metrics_page docs/metrics.md

.PHONY: dashboards
dashboards: setup ## Write Grafana's dashboards anew from deploy/grafana/boards
	@$(BIN)/python deploy/grafana/make_dashboards.py deploy/grafana/dashboards

.PHONY: sbom
SBOM ?= build/payments.cdx.json
sbom: setup ## The bill of materials of the Python packages that are deployed (CycloneDX), into build/
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --of JSON -o $(SBOM)
