"""Errors that a user can mend: shown as one line that names the file or key and the remedy."""

import errno
import os
import re

FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# The first line of a conflict as git leaves it in a file.
CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)


class InputError(RuntimeError):
    """What came in cannot be used; the message says what it is and what to do."""


def cannot_write(path: str | os.PathLike, error: Exception) -> str:
    """A disk that is full, a folder that is read-only: the file, the reason and the remedy in one line."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    file = getattr(error, "filename", None) or path
    return f"{os.fsdecode(file)} cannot be written ({reason}); make room or make it writable, then run again"


def is_unwritable(error: Exception) -> bool:
    """Whether it says that a disk is full or read-only, or that a folder may not be written to."""
    number, file = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in (errno.EACCES, errno.EPERM) and file:
        return not os.access(os.path.dirname(os.path.abspath(os.fsdecode(file))), os.W_OK)
    return number in FULL_OR_READ_ONLY


def first_line(error: Exception | str) -> str:
    """What an error says first, which may go on for pages; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def in_one_line(error: OSError) -> str:
    """An error of the operating system as a user should read it."""
    if is_unwritable(error) and error.filename:
        return cannot_write(error.filename, error)
    return " ".join(str(error).split())
