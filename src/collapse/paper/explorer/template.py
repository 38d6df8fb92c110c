"""The template of the explorer's page: HTML, style and scripts, each a file of its own in workflow/explorer.

Apart from collapse.paper.explorer.page because the Snakefile reads it, and each job reads the Snakefile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path


def read_template(files: Sequence[str | PathLike]) -> str:
    """The template, with each other file in the place of its "{{file name}}"."""
    first, *others = map(Path, files)
    template = first.read_text(encoding="utf-8")
    for file in others:
        template = template.replace("{{" + file.name + "}}", file.read_text(encoding="utf-8"))
    return template


def page_digest(files: Sequence[str | PathLike]) -> str:
    """A hash of what the files hold, as `code_digest` is of Python's code."""
    return hashlib.sha256(read_template(files).encode()).hexdigest()[:16]
