"""Optimizer choice matters for the emergence of Neural Collapse (ICLR 2026, arXiv 2602.16642).

From params.yaml to every table and figure of one study:
    snakemake                              all of the study named in params.yaml
    snakemake --config study=mini          another study
    snakemake table_2 figure_5             single targets
    snakemake runs                         all but the tables and figures, which are targets as well
"""

import os
import shutil
from math import ceil

from snakemake.exceptions import WorkflowError

from collapse.records.code_json import keep_code_digests
from collapse.datasets import DATASETS
from collapse.measuring.evidence_files import evidence_files
from collapse.records.code_digest import code_digest, yaml_digest
from collapse.paper.comparison.paper_scale import paper_scale
from collapse.study.parameters import (
    ParameterError,
    in_one_order,
    load_parameters,
    remaining_studies,
    validate_parameters,
)
from collapse.study.runs import PROTOCOL, run_minutes, run_table, runs_by_pack, valid_accuracies
from collapse.paper.report.sections import in_report
from collapse.paper.target_checks import check_targets
from collapse.paper.targets import (
    aliases_of,
    face_note,
    lacking_of,
    refusal,
    scale_note,
    scale_notes,
    target_note,
    target_settings,
    targets_of,
)

try:
    load_parameters("params.yaml")  # Snakemake's own reading is silent about keys that stand twice
except ParameterError as error:
    raise WorkflowError(error)


configfile: "params.yaml"


try:
    validate_parameters(config, source="params.yaml")
    check_targets(config)
    config["studies"] = remaining_studies(config)
    config.update(in_one_order(config))
    RUNS = run_table(config, config["study"])
    EVIDENCE = evidence_files(config, config["study"])
except ParameterError as error:
    raise WorkflowError(error)

STUDY = config["study"]
RESULTS = f"results/{STUDY}"
TABLES = targets_of(config, STUDY, "tables")
FIGURES = targets_of(config, STUDY, "figures")
ALIASES = aliases_of(config, STUDY, "figures")
LACKING = lacking_of(config, STUDY)
PACKS = {} if EVIDENCE else runs_by_pack(RUNS)
PREPARED = {name: f"{RESULTS}/datasets/{runs[0]['dataset']}.safetensors" for name, runs in PACKS.items()}
OF_RUNS = [f"{RESULTS}/runs.parquet", f"{RESULTS}/history.parquet"]
OF_TABLES = [
    *expand(f"{RESULTS}/tables/{{table}}.html", table=["table_1", *TABLES, "claims", "comparison"]),
    f"{RESULTS}/summary.html",
    f"{RESULTS}/metrics.json",
]
OF_FIGURES = expand(f"{RESULTS}/figures/{{figure}}.pdf", figure=["theory", *FIGURES])
# Packs whose images are read from the user's files at every step (ImageNet): days instead of hours.
FROM_FILES = [name for name, runs in PACKS.items() if DATASETS[runs[0]["dataset"]].stays_on_disk]
MINUTES = {
    name: sum(run_minutes(run, config["images_per_second"]) for run in runs) for name, runs in PACKS.items()
}
SCRIPTS = f"{workflow.basedir}/workflow/scripts"
keep_code_digests(f"{workflow.basedir}/workflow")  # for DVC
REPORTED = os.path.relpath(f"{workflow.basedir}/reference/reported.yaml")  # so that the project can be moved
# A job that trains asks for one GPU where there are any: so many run at a time as the profile allows.
GPUS = int(config["device"] == "cuda" or (config["device"] == "auto" and bool(shutil.which("nvidia-smi"))))


wildcard_constraints:
    pack="[^/]+",
    dataset="[^/]+",


localrules:
    all,
    datasets,
    runs,
    tables,
    figures,


onstart:
    above = next(folder for folder in (RESULTS, "results", ".") if os.path.isdir(folder))
    if not os.access(above, os.W_OK):
        raise WorkflowError(f"{RESULTS} cannot be written; make {above} writable, then run again")
    # A job would say so as well, but each for itself. A cluster's GPUs are not where Snakemake runs.
    if config["device"] == "cuda" and workflow.local_exec:
        from collapse.training.images import DeviceError, choose_device

        if any(job.rule.name in ("train", "extract_statistics") for job in workflow.dag.needrun_jobs()):
            try:
                choose_device("cuda")
            except DeviceError as error:
                raise WorkflowError(error)


rule all:
    """Every table and figure of the study."""
    input:
        OF_RUNS,
        OF_TABLES,
        OF_FIGURES,


# Its parts, as dvc.yaml versions them.
rule datasets:
    input:
        set(PREPARED.values()),


rule runs:
    input:
        OF_RUNS,


rule tables:
    input:
        OF_TABLES,


rule figures:
    input:
        OF_FIGURES,


include: "workflow/rules/theory.smk"  #                                section 3.3
include: "workflow/rules/datasets.smk"  #                              section 3.1
include: "workflow/rules/training.smk"  #                              section 3.1
include: "workflow/rules/metrics.smk"  #                               appendix B
include: "workflow/rules/tables.smk"  #                                section 3, appendix D
include: "workflow/rules/figures.smk"  #                               section 3, appendix D
include: "workflow/rules/analysis.smk"  #                              the claims; ours beside the paper's
include: "workflow/rules/other_targets.smk"
include: "workflow/rules/report.smk"  #                                the report's first page
