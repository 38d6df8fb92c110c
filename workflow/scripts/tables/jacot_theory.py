"""jacot_table_11: balanced layers and collapse, each statement checked by training; needs no run."""

from collapse.paper.balance_theory_table import balance_theory_table as make
from collapse.paper.balance_theory_table import print_balance_theory
from collapse.paper.tables import write_target
from collapse.records.job import job

if "snakemake" in globals():
    with job(snakemake, threads=1):
        table = make(**snakemake.params.settings)
        write_target(snakemake, table, print_balance_theory(table))
