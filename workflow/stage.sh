#!/bin/sh
# A stage of dvc.yaml: runs a tool of the project's own environment, as `sh workflow/stage.sh snakemake runs`.
if [ ! -x ".venv/bin/$1" ]; then
    echo "$PWD has no .venv/bin/$1. \`dvc exp run --temp\` and \`--queue\` work in a copy that has neither the" \
         "environment nor Snakemake's records, and are not supported: use \`dvc exp run -S name=value\` in the" \
         "project. If this is the project: make setup." >&2
    exit 1
fi
exec ".venv/bin/$@"
