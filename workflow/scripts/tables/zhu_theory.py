"""zhu_table_11: minima and saddles of the unconstrained feature model, by search; needs no run."""

from collapse.paper.tables import write_target
from collapse.paper.ufm_theory_table import print_ufm_theory
from collapse.paper.ufm_theory_table import ufm_theory_table as make
from collapse.records.job import job

if "snakemake" in globals():
    with job(snakemake, threads=1):
        table = make(**snakemake.params.settings)
        write_target(snakemake, table, print_ufm_theory(table))
