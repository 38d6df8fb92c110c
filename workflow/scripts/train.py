"""Rule train: the runs of one pack."""

from pathlib import Path

from collapse.datasets import data_root
from collapse.records.job import job
from collapse.training.pack_files import PackPaths
from collapse.training.packs import train_pack
from collapse.training.reuse import former_packs, take_over

with job(snakemake, threads=snakemake.threads):
    paths, unfinished = PackPaths(*map(Path, snakemake.output)), Path(snakemake.params.unfinished)
    former = former_packs(snakemake.config, folder=paths.weights.parents[1])
    take_over(snakemake.params.runs, paths=paths, unfinished=unfinished, former=former)
    train_pack(
        snakemake.params.runs,
        prepared=Path(snakemake.input.prepared),
        paths=paths,
        unfinished=unfinished,
        # No params: moving to a GPU reruns nothing, nor do other kernels, moving the data, saving more often.
        device=snakemake.config["device"],
        kernels=snakemake.config["kernels"],
        save_every_minutes=snakemake.config["save_every_minutes"],
        root=data_root(snakemake.config["data_root"]),
    )
