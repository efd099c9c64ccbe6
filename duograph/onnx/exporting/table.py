"""The table of exporters: what a node of the graph IR becomes in ONNX, one function for each, in the families' files.

An exporter gets the writer of the graph and the node. One of a primitive tells the writer what the node's results are. One of a
composite (`@standard`) returns the name of its first result, or of all that something reads, or None: the composite is then a
function whose body is made from its region.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from duograph.ir.graph import Node

    from .writer import Writer

Exporter: TypeAlias = "Callable[[Writer, Node], None]"
Standard: TypeAlias = "Callable[[Writer, Node], str | list[str] | None]"
PRIMITIVE: dict[str, Exporter] = {}
STANDARD: dict[str, Standard] = {}


def exports(*names: str) -> Callable[[Exporter], Exporter]:
    """Adds what primitives become."""

    def add(function: Exporter) -> Exporter:
        PRIMITIVE.update(dict.fromkeys(names, function))
        return function

    return add


def standard(*names: str) -> Callable[[Standard], Standard]:
    """Adds what composites become where ONNX has an operator for them."""

    def add(function: Standard) -> Standard:
        STANDARD.update(dict.fromkeys(names, function))
        return function

    return add


def load_families() -> None:
    """All rows: the families' files add them when they are imported."""
    from . import arithmetic as arithmetic
    from . import control as control
    from . import effects as effects
    from . import indexing as indexing
    from . import movement as movement
    from . import networks as networks
    from . import randomness as randomness
    from . import reductions as reductions
    from . import sequences as sequences
    from . import special as special
