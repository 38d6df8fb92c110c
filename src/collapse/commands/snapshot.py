"""`collapse snapshot`: see collapse.lineage.versions."""

from __future__ import annotations

import argparse

from collapse.commands.arguments import add_study
from collapse.lineage.versions.verbs import snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """The command. Returns the exit status. Raises VersionError."""
    return snapshot(arguments.study)
