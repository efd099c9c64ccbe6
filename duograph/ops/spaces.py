"""Operators that are in a namespace of their own, as `duograph.special` and `duograph.linalg`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .definition import REGISTRY

if TYPE_CHECKING:
    from .definition import Definition


def members(space: str, others: str) -> dict[str, Definition]:
    """The operators of a namespace by the names that they have there.

    `others` says which general ones it shows, too: "name" or "name=the operator's", separated by spaces.
    """
    found = {row.space[len(space) + 1 :]: row for row in REGISTRY.values() if row.space and row.space.startswith(space + ".")}
    pairs = [name.split("=") for name in others.split()]
    return {**{pair[0]: REGISTRY[pair[-1]] for pair in pairs}, **found}


def member(space: str, others: str, name: str) -> Any:
    """The operator of that name there. Errors: AttributeError."""
    found = None if name.startswith("_") else members(space, others).get(name)
    if found is None:
        raise AttributeError(f"module 'duograph.{space}' has no attribute {name!r}")
    return found.exported
