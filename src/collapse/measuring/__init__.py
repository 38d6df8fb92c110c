"""From checkpoints to the two tidy tables `runs` and `history`.

`extraction` turns a checkpoint into class statistics, `measurement` these into metrics, `collect` joins all
packs. `evidence_files` and `evidence_tables` keep measured runs as small files in git. `jobs` runs the same
jobs without Snakemake.
"""
