"""Errors that a user can mend: shown as one line that names the file or key and the remedy."""


class InputError(RuntimeError):
    """What came in cannot be used; the message says what it is and what to do."""
