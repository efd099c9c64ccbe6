"""The graph representation: values, nodes, regions, symbolic sizes, source locations."""

from .builder import Builder, Region, active, current
from .dim import Dim, Expr, UndecidedSize, ceildiv, symbol
from .graph import Argument, Check, Graph, Node, Value
from .location import Location
from .types import TensorType

__all__ = [
    "Argument",
    "Builder",
    "Check",
    "Dim",
    "Expr",
    "Graph",
    "Location",
    "Node",
    "Region",
    "TensorType",
    "UndecidedSize",
    "Value",
    "active",
    "ceildiv",
    "current",
    "symbol",
]
