"""Table 1: the theorems on NC0, each with a check against simulation in float64; needs no run."""

from collapse.paper.tables import write_target
from collapse.paper.theorem_table import print_theorems
from collapse.paper.theorem_table import theorem_table as make
from collapse.records.job import job

if "snakemake" in globals():
    with job(snakemake, threads=1):
        table = make(**snakemake.params.settings)
        write_target(snakemake, table, print_theorems(table))
