"""Errors by TensorFlow's names: they are duograph's."""

from __future__ import annotations

from duograph.errors import (
    BoundsError,
    Error,
    FileError,
    GraphError,
    OutOfMemoryError,
    ShapeError,
    UninitializedError,
)

__all__ = [
    "DataLossError",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "NotFoundError",
    "OpError",
    "OutOfRangeError",
    "ResourceExhaustedError",
]

OpError = Error
InvalidArgumentError: tuple[type[Error], ...] = (GraphError, ShapeError)  # what `except` takes
FailedPreconditionError = UninitializedError
NotFoundError = FileError
DataLossError = FileError
OutOfRangeError = BoundsError
ResourceExhaustedError = OutOfMemoryError
