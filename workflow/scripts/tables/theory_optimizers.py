"""Table 102: the theory of the other optimizers, each statement checked by simulation; needs no run."""

from collapse.paper.optimizer_theory_table import optimizer_theory_table as make
from collapse.paper.optimizer_theory_table import print_optimizer_theory
from collapse.paper.tables import write_target
from collapse.records.job import job

if "snakemake" in globals():
    with job(snakemake, threads=1):
        table = make(**snakemake.params.settings)
        write_target(snakemake, table, print_optimizer_theory(table))
