"""Versions of a study's results: what DVC and Snakemake have to know of each other so that they agree.

DVC keeps bytes by their hash (dvc.lock), Snakemake knows from which code and parameters they came
(.snakemake/metadata). `record` writes down both for results that Snakemake has just made, `restore` brings
both back into another clone; each ends by asking both tools.
"""
