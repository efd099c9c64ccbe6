"""Arguments and results as trees: tuples, named tuples, lists and dicts of tensors and other things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """What is in the tree, from left to right; dicts in the order of their keys' insertion."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree


def rebuild(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same tree with each leaf replaced."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(rebuild(item, function) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(rebuild(item, function) for item in tree)
    if isinstance(tree, dict):
        return {key: rebuild(item, function) for key, item in tree.items()}
    return function(tree)


def refill(tree: Any, values: Iterator[Any]) -> Any:
    """The same tree with other leaves, in order."""
    return rebuild(tree, lambda _: next(values))
