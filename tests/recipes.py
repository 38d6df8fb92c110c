"""The examples of docs/extending.md, as edits of a copy of the project."""

import re
import textwrap
from typing import NamedTuple

STEP = re.compile(
    r"^ *In `(?P<file>[^`]+)`, (?P<how>new|after|instead of)(?: `(?P<anchor>[^`]+)`)?:\n\n"
    r"(?P<block> *```\w+\n.*?\n *```)$",
    re.MULTILINE | re.DOTALL,
)


class Edit(NamedTuple):
    """A new file, or text that is put after or in the place of an anchor."""

    file: str
    how: str
    anchor: str | None
    text: str


def edits(page, section):
    """The edits of a section of the page, in their order."""
    text = page.read_text(encoding="utf-8")
    [of_section] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [
        Edit(found["file"], found["how"], found["anchor"], content(found["block"]))
        for found in STEP.finditer(of_section)
    ]


def content(block):
    """What stands between the fences, without the indentation of the list that has it."""
    lines = textwrap.dedent(block).splitlines()
    indentation = len(block) - len(block.lstrip(" "))
    return "\n".join(line[indentation:] if not line.strip() else line for line in lines[1:-1])


def follow(edit, project):
    """Make an edit; its anchor must be there once."""
    file = project / edit.file
    if edit.how == "new":
        file.write_text(edit.text + "\n", encoding="utf-8")
        return
    text = file.read_text(encoding="utf-8")
    assert text.count(edit.anchor) == 1, f"{edit.file} has {text.count(edit.anchor)} times {edit.anchor!r}"
    new = f"{edit.anchor}\n{edit.text}" if edit.how == "after" else edit.text
    file.write_text(text.replace(edit.anchor, new), encoding="utf-8")
