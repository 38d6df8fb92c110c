"""A training job as Snakemake starts it, without Snakemake: python train_a_pack.py FOLDER."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from as_job import as_job

from collapse.records.job import job
from collapse.training.pack_files import PackPaths
from collapse.training.packs import train_pack


def pack_job(folder: Path) -> SimpleNamespace:
    """The job whose results, log and record are in `folder`; the runs are in its runs.json."""
    runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    outputs = PackPaths.inside(folder / "packs")._asdict()
    prepared = {"prepared": str(folder / "prepared.safetensors")}
    return as_job(folder, "train.py", input=prepared, output=outputs, params={"runs": runs})


def main(folder: Path, *, save_every_minutes: float) -> None:
    task = pack_job(folder)
    with job(task, threads=1):
        train_pack(
            task.params.runs,
            prepared=Path(task.input.prepared),
            paths=PackPaths(**task.output.__dict__),
            unfinished=folder / "unfinished",
            device="cpu",
            save_every_minutes=save_every_minutes,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), save_every_minutes=float(sys.argv[2]))
