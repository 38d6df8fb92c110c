"""Rule train: the runs of one pack."""

from pathlib import Path

from collapse.job import job
from collapse.pack_files import PackPaths
from collapse.packs import train_pack

with job(snakemake.log[0], threads=snakemake.threads):
    train_pack(
        snakemake.params.runs,
        prepared=Path(snakemake.input.prepared),
        paths=PackPaths(*map(Path, snakemake.output)),
        unfinished=Path(snakemake.params.unfinished),
        device=snakemake.config["device"],  # no param: moving to a GPU reruns nothing
    )
