"""Arguments that several subcommands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from collapse.files.errors import InputError


class PathError(InputError):
    """A path that the user named is not there."""


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


def add_folder(parser: argparse.ArgumentParser, name: str, default: str, *, written: bool = False) -> None:
    """A folder that is read, which must be there where the user names it; one that is `written` need not be.

    The default need not be there either: nothing has been made yet.
    """
    kind = Path if written else existing_folder
    parser.add_argument(name, type=kind, default=Path(default), help="default: %(default)s")


def existing_folder(text: str) -> Path:
    """A folder that the user names. Raises PathError."""
    path = Path(text)
    if not path.is_dir():
        raise PathError(f"{path}: {'not a folder' if path.exists() else 'no such folder'}")
    return path


def existing_file(text: str) -> Path:
    """A file that the user names. Raises PathError."""
    path = Path(text)
    if not path.is_file():
        raise PathError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    return path


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number
