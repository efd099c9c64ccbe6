"""Nested lists, tuples, named tuples and dicts: TensorFlow's `tf.nest`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from duograph.errors import ArgumentError

from .definition import filled, structure_of

__all__ = ["assert_same_structure", "flatten", "is_nested", "map_structure", "pack_sequence_as"]


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple or a dict."""
    return isinstance(structure, (list, tuple, dict))


is_sequence = is_nested


def _split(structure: Any) -> tuple[Any, list[Any]]:
    leaves: list[Any] = []
    return structure_of(_sorted(structure), leaves, lambda x: not is_nested(x)), leaves


def _sorted(structure: Any) -> Any:
    """With dicts in the order of their keys."""
    if isinstance(structure, dict):
        return {key: _sorted(structure[key]) for key in sorted(structure)}
    if isinstance(structure, (list, tuple)):
        made = [_sorted(x) for x in structure]
        return type(structure)(*made) if hasattr(structure, "_fields") else type(structure)(made)
    return structure


def flatten(structure: Any) -> list[Any]:
    """What is in it, in order; dicts by sorted keys.

    >>> import duograph.graph as tf
    >>> tf.nest.flatten({"b": 1, "a": (2, [3])})
    [2, 3, 1]
    """
    return _split(structure)[1]


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """The values in the structure of another. ArgumentError for another number of values."""
    template, leaves = _split(structure)
    if len(leaves) != len(flat_sequence):
        raise ArgumentError(f"pack_sequence_as: {len(flat_sequence)} values for a structure of {len(leaves)}")
    return filled(template, list(flat_sequence))


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """ArgumentError if the two differ in structure."""
    first, second = _split(nest1)[0], _split(nest2)[0]
    if first != second or (check_types and str(first) != str(second)):
        raise ArgumentError(f"the structures differ: {nest1!r} and {nest2!r}")


def map_structure(func: Callable[..., Any], *structure: Any, **options: Any) -> Any:
    """What the function gives for the values at each place, in the same structure.

    >>> import duograph.graph as tf
    >>> tf.nest.map_structure(lambda a, b: a + b, {"x": 1, "y": [2]}, {"x": 10, "y": [20]})
    {'x': 11, 'y': [22]}
    """
    for other in structure[1:]:
        assert_same_structure(structure[0], other, check_types=False)
    return pack_sequence_as(structure[0], [func(*values) for values in zip(*map(flatten, structure))])
