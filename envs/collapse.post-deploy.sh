#!/usr/bin/env bash
# Snakemake runs this once in the new conda environment, from the project root.
set -euo pipefail
pip install --no-deps --editable .
