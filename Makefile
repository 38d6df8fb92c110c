# Thin verbs over the tools' own commands. `make` lists them.
PYTHON ?= python3
STUDY  ?= demo
CORES  ?= 2
# Of `make cluster` alone. cuda: a job that gets no GPU fails rather than train for days on a CPU.
PROFILE ?= profiles/slurm
DEVICE ?= cuda
VENV   := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup doctor demo evidence paper study cluster report record restore changed bench test lint format clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## build the environment in .venv, versions locked in envs/lock.txt
	@command -v $(PYTHON) >/dev/null || { echo "make setup: no $(PYTHON) here; install Python 3.11 to 3.13, or name one: make setup PYTHON=..." >&2; exit 1; }
	@$(PYTHON) src/collapse/files/environment.py

doctor: ## what setup, the demo and the studies need, and whether it is here (STUDY=demo)
	@$(PYTHON) src/collapse/files/environment.py check
	@PYTHONPATH=src $(shell $(VENV)/python -c "" 2>/dev/null && echo $(VENV)/python || echo $(PYTHON)) -m collapse doctor $(STUDY)

demo: setup ## every table and figure of the demo study: minutes on two cores, no network
	$(VENV)/snakemake --cores $(CORES) --config study=demo
	$(VENV)/collapse record demo

evidence: setup ## tables and figures of what was measured at the paper's scale and is kept in evidence/
	$(VENV)/snakemake --cores $(CORES) --config study=evidence

paper: setup ## every table and figure at the paper's own scale: hundreds of GPU-hours
	$(VENV)/snakemake --cores $(CORES) --config study=paper
	$(VENV)/collapse record paper

study: setup ## every table and figure of a study: make study STUDY=mini CORES=8
	$(VENV)/snakemake --cores $(CORES) --config study=$(STUDY)
	$(VENV)/collapse record $(STUDY)

cluster: setup ## the same on a cluster, or a node of GPUs: make cluster STUDY=paper PROFILE=profiles/slurm
	$(VENV)/snakemake --workflow-profile $(PROFILE) --config study=$(STUDY) device=$(DEVICE)
	$(VENV)/collapse record $(STUDY)

report: setup ## the study, and one HTML file that shows all of it: results/demo/report.html (STUDY=demo)
	$(VENV)/snakemake --cores $(CORES) --config study=$(STUDY) --forcerun summary
	$(VENV)/snakemake --config study=$(STUDY) --report results/$(STUDY)/report.html
	$(VENV)/collapse record $(STUDY)

record: setup ## write the results of a bare `snakemake` to dvc.lock and DVC's cache (STUDY=demo); trains nothing
	$(VENV)/collapse record $(STUDY)

restore: setup ## bring back the results that dvc.lock names (STUDY=demo), for DVC and for Snakemake
	$(VENV)/collapse restore $(STUDY)

changed: setup ## what Snakemake would run and what DVC calls changed (STUDY=demo)
	$(VENV)/collapse changed $(STUDY)

bench: setup ## time metrics and training against the usual implementations: adds rows to benchmarks/results.csv
	$(VENV)/python benchmarks/metrics.py
	$(VENV)/python benchmarks/trainer.py --width 0.25
	$(VENV)/python benchmarks/trainer.py --width 1 --samples 512
	$(VENV)/python benchmarks/trainer.py --architecture VGG9 --width 0.25

test: setup ## all tests, the workflow's own among them
	$(VENV)/pytest --numprocesses $(CORES) --dist worksteal

lint: setup ## ruff, spelling, imports between packages, snakefmt and Snakemake's own linter
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/codespell Snakefile Makefile *.md *.yaml *.toml benchmarks docs reference src tests workflow
	$(VENV)/lint-imports --no-logo
	$(VENV)/snakefmt --check Snakefile workflow/rules
	$(VENV)/snakemake --lint

format: setup ## write the form that `make lint` wants
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .
	$(VENV)/snakefmt Snakefile workflow/rules

clean: ## remove results of the study (STUDY=demo); downloads, other studies and DVC's cache stay
	@case '$(STUDY)' in ''|*[!A-Za-z0-9_]*) echo "make clean: STUDY names no study; make clean STUDY=demo removes results/demo" >&2; exit 1;; esac
	rm -rf results/$(STUDY)
