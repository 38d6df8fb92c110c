"""Optimizer choice matters for the emergence of Neural Collapse (ICLR 2026, arXiv 2602.16642).

From params.yaml to every table and figure of one study:
    snakemake                              all of the study named in params.yaml
    snakemake --config study=mini          another study
    snakemake table_2 figure_5             single targets
"""

import shutil

from snakemake.exceptions import WorkflowError

from collapse.datasets import DATASETS
from collapse.lineage import code_digest
from collapse.parameters import ParameterError, load_parameters, validate_parameters
from collapse.runs import PROTOCOL, run_table, runs_by_pack
from collapse.targets import check_targets, scale_note, target_settings, targets_of

try:
    load_parameters("params.yaml")  # Snakemake's own reading is silent about keys that stand twice
except ParameterError as error:
    raise WorkflowError(error)


configfile: "params.yaml"


try:
    validate_parameters(config, source="params.yaml")
    check_targets(config)
    RUNS = run_table(config, config["study"])
except ParameterError as error:
    raise WorkflowError(error)

STUDY = config["study"]
RESULTS = f"results/{STUDY}"
TABLES = targets_of(config, STUDY, "tables")
FIGURES = targets_of(config, STUDY, "figures")
PACKS = runs_by_pack(RUNS)
PREPARED = {name: f"results/datasets/{runs[0]['dataset']}.safetensors" for name, runs in PACKS.items()}
SCRIPTS = f"{workflow.basedir}/workflow/scripts"
# A job that trains asks for one GPU where there are any: so many run at a time as the profile allows.
GPUS = int(config["device"] == "cuda" or (config["device"] == "auto" and bool(shutil.which("nvidia-smi"))))


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
        f"{RESULTS}/tables/table_1.csv",
        f"{RESULTS}/figures/theory.pdf",
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
        expand(f"{RESULTS}/figures/{{figure}}.pdf", figure=FIGURES),


include: "workflow/rules/theory.smk"  #                                section 3.3
include: "workflow/rules/datasets.smk"  #                              section 3.1
include: "workflow/rules/training.smk"  #                              section 3.1
include: "workflow/rules/metrics.smk"  #                               appendix B
include: "workflow/rules/tables.smk"  #                                section 3, appendix D
include: "workflow/rules/figures.smk"  #                               section 3, appendix D
