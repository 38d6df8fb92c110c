# The set-up: parameters checked, and from them what the rules need by name.
import os
import shutil
import sys
from itertools import filterfalse
from math import ceil

from snakemake.exceptions import WorkflowError

from collapse.datasets import DATASETS
from collapse.files.environment import problem_of_path
from collapse.files.errors import InputError
from collapse.measuring.evidence_files import DEPTH, evidence_files, measured_experiments
from collapse.measuring.results import FURTHER
from collapse.paper.comparison.paper_scale import paper_scale
from collapse.paper.explorer.template import page_digest
from collapse.paper.report.sections import EXPLORER_CAPTION, in_report
from collapse.paper.scale import face_note, scale_notes, target_note
from collapse.paper.signatures import tables_of
from collapse.paper.target_checks import check_targets, is_table
from collapse.paper.targets import (
    aliases_of,
    lacking_of,
    refusal,
    target_settings,
    targets_of,
)
from collapse.records.code_digest import code_digest, yaml_digest
from collapse.records.code_json import keep_code_digests
from collapse.records.run_checks import RunError, require_slurm, require_targets
from collapse.study.depth import EXPERIMENT, depth_packs
from collapse.study.entries import entries_of, entries_used
from collapse.study.families import family_of, of_family, without_prefix
from collapse.study.layers import layer_packs
from collapse.study.parameters import (
    COMMAND_LINE,
    REFERENCE_STUDY,
    in_one_order,
    load_parameters,
    remaining_studies,
    validate_parameters,
)
from collapse.study.runs import PROTOCOL, run_minutes, run_table, runs_by_pack, valid_accuracies
from collapse.study.unconstrained import unconstrained_rows

if problem := problem_of_path(sys.executable):
    raise WorkflowError(problem)
try:
    check_targets(load_parameters("params.yaml"))  # Snakemake's own reading lets keys stand twice
    validate_parameters(config, source=COMMAND_LINE)  # the files are as they should be
    check_targets(config, source=COMMAND_LINE)
    config["studies"] = remaining_studies(config)
    config.update(in_one_order(config))
    EVIDENCE = evidence_files(config, config["study"])
    config["studies"][config["study"]] = measured_experiments(config, config["study"])
    RUNS = run_table(config, config["study"])
    PACKS = {} if EVIDENCE else runs_by_pack(RUNS)
    DEPTH_PACKS = {} if EVIDENCE else depth_packs(RUNS)
    LAYER_PACKS = {} if EVIDENCE else layer_packs(RUNS)
except InputError as error:
    raise WorkflowError(error)

STUDY = config["study"]
RESULTS = f"results/{STUDY}"
# Of the registries, what digests of code cover: what the study uses, and what the theory does.
ENTRIES = entries_used(config["studies"], STUDY)
NO_DATA = {"architecture": [], "dataset": []}  # theory reads none
OF_PAPER = entries_used(config["studies"], REFERENCE_STUDY) | NO_DATA
OF_STUDY = config["studies"][STUDY]
FAMILY = family_of(OF_STUDY)
THEORY = of_family(OF_STUDY, config["theory"])
ANALYSIS = {without_prefix(name): its for name, its in of_family(OF_STUDY, config["analysis"]).items()}
UNCONSTRAINED = unconstrained_rows(OF_STUDY)
TABLES = targets_of(config, STUDY, "tables")
FIGURES = targets_of(config, STUDY, "figures")
ALIASES = aliases_of(config, STUDY, "figures")
LACKING = lacking_of(config, STUDY)
DEPTH_OF_EVIDENCE = [
    file for file in EVIDENCE if os.path.basename(file) == DEPTH and EXPERIMENT in OF_STUDY["experiments"]
]
PREPARED = {name: f"{RESULTS}/datasets/{runs[0]['dataset']}.safetensors" for name, runs in PACKS.items()}
OF_RUNS = expand(f"{RESULTS}/{{table}}.parquet", table=["runs", "history", *FURTHER])
OF_TABLES = [
    *expand(f"{RESULTS}/tables/{{table}}.html", table=[*filter(is_table, THEORY), *TABLES, *ANALYSIS]),
    f"{RESULTS}/summary.html",
    f"{RESULTS}/metrics.json",
]
OF_FIGURES = [
    *expand(f"{RESULTS}/figures/{{figure}}.pdf", figure=[*filterfalse(is_table, THEORY), *FIGURES]),
    f"{RESULTS}/explorer.html",
]


def of_theory(target):
    """The entries of the registries that a target of the theory uses."""
    settings = target["settings"]
    optimizers = {"optimizer": sorted(settings["optimizers"])} if "optimizers" in settings else {}
    datasets = {"dataset": [settings["dataset"]]} if "dataset" in settings else {}
    return OF_PAPER | optimizers | datasets


# Packs whose images are read from the user's files at every step (ImageNet): days instead of hours.
FROM_FILES = [name for name, runs in PACKS.items() if DATASETS[runs[0]["dataset"]].stays_on_disk]
MINUTES = {
    name: sum(run_minutes(run, config["images_per_second"]) for run in runs) for name, runs in PACKS.items()
}
SCRIPTS = f"{workflow.basedir}/workflow/scripts"
if workflow.is_main_process:  # not in every job, each of which reads this file
    keep_code_digests(f"{workflow.basedir}/workflow")  # for DVC
EXPLORER = [
    os.path.relpath(f"{workflow.basedir}/workflow/explorer/{name}")
    for name in ("explorer.html", "explorer.css", "charts.js", "runs.js", "explorer.js")
]
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
    try:
        require_slurm(workflow.executor_plugin.name)
    except RunError as error:
        raise WorkflowError(error)
    # A job would say so as well, but each for itself. A cluster's GPUs are not where Snakemake runs.
    if config["device"] == "cuda" and workflow.local_exec:
        from collapse.training.images import DeviceError, choose_device

        on_gpu = ("train", "extract_statistics", "measure_depth")
        if any(job.rule.name in on_gpu for job in workflow.dag.needrun_jobs()):
            try:
                choose_device("cuda")
            except DeviceError as error:
                raise WorkflowError(error)


onsuccess:
    try:
        require_targets(workflow.dag)
    except RunError as error:
        raise WorkflowError(error)
