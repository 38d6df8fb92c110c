"""Optimizer choice matters for the emergence of Neural Collapse (ICLR 2026, arXiv 2602.16642).

From params.yaml to every table and figure of one study:
    snakemake                              all of the study named in params.yaml
    snakemake --config study=mini          another study
    snakemake table_2 figure_31            single targets
"""

from snakemake.exceptions import WorkflowError

from collapse.datasets import DATASETS
from collapse.lineage import code_digest
from collapse.parameters import ParameterError, validate_parameters
from collapse.runs import PROTOCOL, run_table, runs_by_pack
from collapse.targets import scale_note, target_settings


configfile: "params.yaml"


try:
    validate_parameters(config, source="params.yaml")
    RUNS = run_table(config, config["study"])
except ParameterError as error:
    raise WorkflowError(error)

STUDY = config["study"]
RESULTS = f"results/{STUDY}"
PACKS = runs_by_pack(RUNS)
PREPARED = {name: f"results/datasets/{runs[0]['dataset']}.safetensors" for name, runs in PACKS.items()}
SCRIPTS = f"{workflow.basedir}/workflow/scripts"
GPUS = int(config["device"] == "cuda")


wildcard_constraints:
    pack="[^/]+",
    dataset="[^/]+",


localrules:
    all,


rule all:
    """Every table and figure of the study."""
    input:
        f"{RESULTS}/runs.parquet",
        f"{RESULTS}/history.parquet",
        expand(f"{RESULTS}/tables/{{table}}.csv", table=config["tables"]),
        expand(f"{RESULTS}/figures/{{figure}}.pdf", figure=config["figures"]),


include: "workflow/rules/datasets.smk"  #                              section 3.1
include: "workflow/rules/training.smk"  #                              section 3.1
include: "workflow/rules/metrics.smk"  #                               appendix B
include: "workflow/rules/tables.smk"  #                                section 3, appendix D
include: "workflow/rules/figures.smk"  #                               section 3, appendix D
