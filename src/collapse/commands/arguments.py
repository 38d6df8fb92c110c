"""Arguments that several subcommands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_study(parser: argparse.ArgumentParser, *, flag: bool = False) -> None:
    """The study, by position or as a required --study."""
    words = "a study of params.yaml: demo, mini, core, paper"
    if flag:
        parser.add_argument("--study", required=True, help=words)
    else:
        parser.add_argument("study", help=words)


def add_params(parser: argparse.ArgumentParser) -> None:
    """Where params.yaml is."""
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")


def add_folder(parser: argparse.ArgumentParser, name: str, default: str) -> None:
    """A folder that is read or written."""
    parser.add_argument(name, type=Path, default=Path(default), help="default: %(default)s")


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number
