"""What a user of the library is told."""

from __future__ import annotations

from collapse.files.errors import InputError


class ModelError(InputError, ValueError):
    """A model, a loader or a batch cannot be measured; the message names it and the remedy."""
