"""What a script of the workflow sees as `snakemake`, for running one without Snakemake."""

from pathlib import Path
from types import SimpleNamespace

from conftest import ROOT

from collapse.measuring.jobs import Named


def as_job(folder, script, *, output, params, input=None, config=None, wildcards=None):
    """The job of a script (as "tables/table_2.py") whose results, log and record are in `folder`."""
    path = ROOT / "workflow/scripts" / script
    parts = "/".join([path.stem, *(wildcards or {}).values()])
    return SimpleNamespace(
        input=Named(**(input or {})),
        output=Named(**output),
        params=Named(**{"code": "0123456789abcdef"} | params),
        wildcards=Named(**(wildcards or {})),
        log=[str(Path(folder) / f"logs/{parts}.log")],
        config=config or {},
        threads=1,
        rule=path.stem,
        scriptdir=str(path.parent),
    )
