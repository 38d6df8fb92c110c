"""The `collapse` command: parses the command line and calls the module of the subcommand.

A subcommand is a module of this package with `add_arguments(parser)` and `run(arguments)`. Only the module of
the chosen subcommand is imported, and one whose arguments are in `options` when it runs: no --help waits for
torch.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

from collapse.commands.options import OPTIONS
from collapse.files.errors import InputError, in_one_line

COMMANDS = {
    "doctor": "what a study needs, and whether it is here",
    "runs": "print the run table of a study",
    "plan": "what a study costs: jobs, arithmetic, bytes, hours",
    "train": "train without the workflow, where PyTorch is all there is",
    "evidence": "keep what was trained so as a few small files for git",
    "status": "how far a study's training is",
    "claims": "judge the paper's claims on a study's results",
    "measure": "collapse metrics of your own model's features",
    "lineage": "where a number, a figure or a run comes from, verified",
    "crate": "a study's results with their provenance, as an RO-Crate",
    "prune": "what of a study's results its settings ask for no more: listed, or removed",
    "record": "let DVC know the results that Snakemake has made; runs nothing",
    "restore": "bring back the results that dvc.lock names, for DVC and for Snakemake",
    "changed": "what Snakemake would run and what DVC calls changed; status 1 where there is any",
    "snapshot": "write Snakemake's records of the study into one file: the last stage of dvc.yaml",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, or 2 with one line on stderr for bad input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        chosen = parser(chosen=arguments[0] if arguments else None).parse_args(arguments)
        return chosen.run(chosen)
    except InputError as error:
        print(f"collapse: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `collapse runs paper | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that is read-only
        print(f"collapse: {in_one_line(error)}", file=sys.stderr)
        return 2


def parser(*, chosen: str | None) -> argparse.ArgumentParser:
    """All subcommands by name; the chosen one with its arguments."""
    top = argparse.ArgumentParser(
        prog="collapse", description="Studies of neural collapse, and your own models."
    )
    top.add_argument("--version", action=Version, dest=argparse.SUPPRESS)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        if name == chosen:
            add_arguments = OPTIONS.get(name) or module_of(name).add_arguments
            add_arguments(command)
            command.set_defaults(run=lambda arguments: module_of(chosen).run(arguments))
    return top


def module_of(command: str) -> ModuleType:
    """The subcommand's module, imported now."""
    return import_module(f"collapse.commands.{command}")


class Version(argparse.Action):
    """Print the version, which is looked up only then, and end."""

    def __init__(self, **settings: object) -> None:
        super().__init__(nargs=0, help="print the version and end", **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"collapse {version()}")
        parser.exit()


def version() -> str:
    """Of the sources here, where this is a checkout; else of what is installed."""
    project = Path(__file__).parents[3] / "pyproject.toml"
    if project.is_file():
        facts = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if facts.get("name") == "collapse":
            return facts["version"]
    return metadata.version("collapse")
