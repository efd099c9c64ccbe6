"""What can be wrong with a model."""

from __future__ import annotations

from duograph.errors import Error, FileError


class ModelError(FileError):
    """A model that has no meaning: names that are not there, cycles, tensors without their bytes."""


class UnsupportedError(Error, NotImplementedError):
    """An operator, or a way of using one, that duograph does not run."""
