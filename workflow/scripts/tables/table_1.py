"""Table 1: the theorems on NC0, each with a check against simulation in float64; needs no run."""

from collapse.job import job
from collapse.tables import write_target
from collapse.theorem_table import print_theorems
from collapse.theorem_table import theorem_table as make

if "snakemake" in globals():
    with job(snakemake, threads=1):
        table = make(**snakemake.params.settings)
        write_target(snakemake, table, print_theorems(table))
