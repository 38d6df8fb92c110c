"""The jobs of the rules that train and measure, without Snakemake: the same files, logs and records."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from collapse.datasets import DATASETS, DatasetError
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import save_prepared
from collapse.measuring.depth import measure_depth
from collapse.measuring.evidence_files import DEPTH
from collapse.measuring.extraction import extract_statistics
from collapse.measuring.measurement import measure_pack
from collapse.records.job import job
from collapse.study.parameters import PROJECT_ROOT
from collapse.study.runs import PROTOCOL
from collapse.training.pack_files import PackPaths, joined, read_pack, write_pack
from collapse.training.packs import finished_parts, train_pack
from collapse.training.reuse import keys_in, take_over

Run = Mapping[str, Any]


class Named(SimpleNamespace):
    """Files or parameters of a job by their names, as `job` wants them."""

    def items(self):
        return vars(self).items()


class Study(NamedTuple):
    """What the jobs of a study have in common.

    folder: OUT/{study}. packs: the workflow's, whole. depth: keys of the runs to measure at every point of
    their trunk.
    """

    folder: Path
    packs: Mapping[str, Sequence[Run]]
    depth: Set[str]
    device: str
    kernels: str
    root: Path
    threads: int
    save_every_minutes: float


def train(study: Study, pack: str, runs: Sequence[Run], *, folder: Path) -> None:
    """The jobs of the rules prepare_dataset and train."""
    forget_measured(folder)
    paths, unfinished = PackPaths.inside(folder), study.folder / "unfinished" / pack
    # Packs of some experiments' runs, and under the workflow's name the whole one as it was.
    beside = (path for path in study.folder.glob("packs/*/") if path.name not in study.packs)
    former = {*beside, study.folder / "packs" / pack} - {folder}
    prepared = prepare_dataset(study, runs[0]["dataset"])
    params = {"runs": runs, "unfinished": str(unfinished), "protocol": PROTOCOL}
    task = as_job(study, "train", folder.name, {"prepared": prepared}, paths._asdict(), params)
    with job(task, threads=study.threads):
        take_over(runs, paths=paths, unfinished=unfinished, former=sorted(former))
        train_pack(
            runs, prepared=prepared, paths=paths, unfinished=unfinished, device=study.device,
            kernels=study.kernels, save_every_minutes=study.save_every_minutes, root=study.root,
        )  # fmt: skip


def keep_ended(study: Study, pack: str, *, folder: Path) -> None:
    """Write and measure the runs that have ended of a pack under way; its states stay where they are."""
    paths = PackPaths.inside(folder)
    packs = [read_pack(paths)] if paths.outcomes.exists() else []
    packs += finished_parts(study.folder / "unfinished" / pack)
    keys = {key for part in packs for key in part.outcomes.key}
    if runs := [run for run in study.packs[pack] if run["key"] in keys]:
        forget_measured(folder)
        inputs = {"prepared": prepare_dataset(study, runs[0]["dataset"])}
        params = {"runs": runs, "protocol": PROTOCOL}
        with job(as_job(study, "train", folder.name, inputs, paths._asdict(), params)):
            write_pack(joined(packs, keys=[run["key"] for run in runs]), paths)
        measure(study, runs, folder=folder)


def forget_measured(folder: Path) -> None:
    """What was measured of a pack is of the runs that it had."""
    for measured in ("class_statistics.safetensors", "metrics.parquet", "history_metrics.parquet", DEPTH):
        (folder / measured).unlink(missing_ok=True)


def measure(study: Study, runs: Sequence[Run], *, folder: Path) -> None:
    """The jobs of the rules extract_statistics, measure and measure_depth, but for what they have made."""
    weights, statistics = folder / "weights.safetensors", folder / "class_statistics.safetensors"
    outputs = {"statistics": statistics}
    where = {"device": study.device, "root": study.root}
    if not statistics.exists():
        trained = {"prepared": prepare_dataset(study, runs[0]["dataset"]), "weights": weights}
        task = as_job(study, "extract_statistics", folder.name, trained, outputs, {"runs": runs})
        with job(task, threads=study.threads):
            extract_statistics(runs, **trained, **outputs, **where)
    inputs = {"statistics": statistics, "trajectory": folder / "trajectory.safetensors"}
    outputs = {name: folder / f"{name}.parquet" for name in ("metrics", "history_metrics")}
    params = {"convention": "reported"}
    if not outputs["history_metrics"].exists():
        with job(as_job(study, "measure", folder.name, inputs, outputs, params)):
            measure_pack(**inputs, **outputs, **params)
    outputs = {"depth": folder / DEPTH}
    of_depth = [run for run in runs if run["key"] in study.depth]
    if {run["key"] for run in of_depth} <= keys_in(folder / DEPTH):
        return
    if weights.exists():
        trained = {"prepared": prepare_dataset(study, runs[0]["dataset"]), "weights": weights}
        task = as_job(study, "measure_depth", folder.name, trained, outputs, {"runs": of_depth})
        with job(task, threads=study.threads):
            measure_depth(of_depth, **trained, **outputs, **where)
    else:
        print(f"{folder} has no checkpoints: depth is not measured; delete the folder to train them again")


def prepare_dataset(study: Study, name: str) -> Path:
    """The prepared file of a dataset, made if it is not there: the job of the rule of that name."""
    if DATASETS[name].stays_on_disk:
        for package in ("torchvision", "PIL"):
            if importlib.util.find_spec(package) is None:
                raise DatasetError(f"{name} is decoded with {package}, which is not installed; install it")
    file = study.folder / "datasets" / f"{name}.safetensors"
    if not file.exists():
        params = {"digest": DATASETS[name].digest}
        with job(as_job(study, "prepare_dataset", name, {}, {"prepared": file}, params, wildcard="dataset")):
            save_prepared(load_arrays(name, root=study.root, cache="data"), file, name)
    return file


def as_job(
    study: Study,
    rule: str,
    name: str,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: Mapping[str, Any],
    *,
    wildcard: str = "pack",
) -> SimpleNamespace:
    """What `job` wants to know: a script of Snakemake's has it as `snakemake`."""
    return SimpleNamespace(
        rule=rule,
        wildcards=Named(**{wildcard: name}),
        input=Named(**inputs),
        output=Named(**outputs),
        params=Named(**params),
        log=[str(study.folder / "logs" / rule / f"{name}.log")],
        threads=study.threads,
        scriptdir=str(PROJECT_ROOT / "workflow/scripts"),
    )
