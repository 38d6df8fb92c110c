"""What a run of Snakemake is held against: before its first job a cluster, after its last every target."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from collapse.files.errors import InputError

MOST_NAMED = 3  # files


class RunError(InputError):
    """Snakemake cannot begin, or has ended without all that it was asked for."""


def require_slurm(executor: str) -> None:
    """Raises RunError where jobs are for Slurm and there is none: else each job says so at each attempt."""
    if executor == "slurm" and not shutil.which("sbatch"):
        raise RunError(
            "there is no Slurm here (no sbatch in PATH); run this where jobs are submitted, or name another "
            "profile, as PROFILE=profiles/gpu_node for one machine"
        )


def require_targets(dag: Any) -> None:
    """That all jobs which had to run have ended and every target is there. Raises RunError.

    With keep-going Snakemake calls a run successful in which no job failed, whatever has become of the others
    and of the files. dag: Snakemake's graph of jobs.
    """
    unfinished = [str(file) for job in dag.needrun_jobs() for file in job.output]
    targets = [str(file) for job in dag.targetjobs for file in (job.output or job.input)]
    lacking = list(dict.fromkeys([*unfinished, *(file for file in targets if not Path(file).exists())]))
    if lacking:
        more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
        raise RunError(
            f"Snakemake has ended without {', '.join(lacking[:MOST_NAMED])}{more}; run the same command again"
        )
