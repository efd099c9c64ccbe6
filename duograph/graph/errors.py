"""Errors by TensorFlow's names: they are duograph's."""

from __future__ import annotations

from duograph.errors import (
    BoundsError,
    DomainError,
    DTypeError,
    Error,
    FileError,
    GraphError,
    InternalError,
    OutOfMemoryError,
    ShapeError,
    UninitializedError,
)

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "CancelledError",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OpError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
]

OpError = Error
# What `except` takes.
InvalidArgumentError: tuple[type[Error], ...] = (GraphError, ShapeError, DTypeError, DomainError, BoundsError)
FailedPreconditionError = UninitializedError
NotFoundError = FileError
DataLossError = FileError
OutOfRangeError = BoundsError
ResourceExhaustedError = OutOfMemoryError


class _NeverRaised(Error):
    """What only several processes, queues and devices bring about: it is there for `except`."""


AbortedError = AlreadyExistsError = CancelledError = DeadlineExceededError = PermissionDeniedError = _NeverRaised
UnavailableError = UnimplementedError = UnknownError = _NeverRaised
