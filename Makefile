# Needs Python 3.11 or newer and nothing else: .venv is made on first use, from locked hashes.
# Another Python than python3: `make demo PYTHON=python3.13`.
# Arguments for what is run: `make test ARGS="-k handshake"`.
PYTHON ?=
ARGS ?=
SEED ?= 1
EXECUTIONS ?= 200000
# Half of the time tests wait for servers and timers: one process more than two cores have.
WORKERS ?= 3
# What takes whole servers, or gigabytes: beside tests/system, the full size of what `make test` tries small.
SYSTEM = tests/system tests/runtime/test_large_models.py tests/server/test_no_leaks_in_crashes.py \
	tests/attacks/test_records.py
export PYTHON
# Tests start hundreds of servers: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-system check fuzz mutate soak bench bench-verification bench-server docs lock clean runtime dev

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'

demo: runtime ## serve a model in a simulated enclave, verify it, predict on real digits, be refused
	@.venv/bin/python demo/demo.py $(ARGS)

test: dev ## run all tests, in parallel, with warnings as errors
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

test-system: dev ## whole servers: haproxy, rotations, kill -9, slow devices, full disks, floods; BLINDAI_KILLS, BLINDAI_SEED
	@BLINDAI_SYSTEM=1 timeout -k 10 890 sh -c 'sh scripts/system_packages.sh; exec .venv/bin/python -m pytest -n auto $$0 "$$@"' $(SYSTEM) $(ARGS)

check: dev ## format, lint, types, import contracts, documents in step with the code
	@sh scripts/check.sh

fuzz: dev ## 200,000 coverage-guided executions against every parser and verifier; SEED=2 for others
	@.venv/bin/python -m fuzz --executions $(EXECUTIONS) --seed $(SEED) $(ARGS)

mutate: dev ## flip conditions in attestation/ and channel/, one at a time, and see a test fail: an hour
	@.venv/bin/python scripts/mutate.py --out .mutants $(ARGS)

soak: dev ## what takes longer: every bit of every genuine sample, 1,000 times kill -9
	@sh scripts/system_packages.sh
	@BLINDAI_SOAK=1 .venv/bin/python -m pytest -n auto tests/attestation tests/channel $(ARGS)
	@BLINDAI_SOAK=1 BLINDAI_SYSTEM=1 .venv/bin/python -m pytest -n auto $(SYSTEM) $(ARGS)

bench: dev ## measure against the same work without attestation; raw JSON is kept
	@.venv/bin/python bench/run.py $(ARGS)
	@.venv/bin/python bench/challenges.py

bench-verification: dev ## measure verification beside the bare signature checks, import time, install size
	@.venv/bin/python bench/verification.py $(ARGS)

bench-server: dev ## measure sealing, authorization, receipts, metrics and uploads beside the work without them
	@.venv/bin/python bench/server.py $(ARGS)

docs: dev ## write docs/cli.md and docs/configuration.md from the code
	@.venv/bin/python scripts/docs.py

lock: dev ## refresh requirements/*.txt from pyproject.toml
	@sh scripts/lock.sh

clean: ## remove the environment and every cache
	@rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime dev:
	@sh scripts/environment.sh $@
