"""A static program failed while it ran: the user's words for it, and the line."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from duograph._stack import Location
from duograph.errors import BoundsError, DivisionError, DomainError, InternalError, NumberError, ShapeError
from duograph.ir.graph import Graph, Node
from duograph.ir.primitives import DEMANDS, INDEXING, PRIMITIVES
from duograph.ops.definition import REGISTRY

_INDEX, _DIVISION, _POWER, _UNFIT = 1, 2, 3, 4
_LATE_SIZE = -6  # see core/program.h


class Lines:
    """The user's lines behind what can fail in a program; they are looked up when something did."""

    def __init__(self, graph: Graph, strict: bool, budget: int | float | None, checks: Mapping[int, Any]) -> None:
        self.graph, self.strict, self.budget = graph, strict, budget
        self.checks = checks

    def of_kernel(self, number: int, indexing: bool) -> list[Location]:
        """The lines of a kernel that look elements up, or else that divide or raise integers to a power."""
        from duograph.runtime.build import build

        sources = build(self.graph, strict=self.strict, views=False, cached=False, budget=self.budget).spec["nodes"]
        return [Location(*line) for line in sources[number][1 if indexing else 2]] if 0 <= number < len(sources) else []

    def operator(self, line: Location, kind: int) -> str | None:
        """The one operator of a line that can fail so, by the name the user called it by; None if there are others."""
        found = {node.op for node in _composites(self.graph) if _can_fail(node, line, kind)}
        name = found.pop() if len(found) == 1 else ""
        known = REGISTRY.get(name)
        return name if known is not None and (known.public or known.functional or known.method) else None

    def of_check(self, code: int) -> list[Location]:
        """The line where sizes had to fit."""
        line = self.checks.get(code)
        return [] if line is None else [Location(line.file, line.line, line.function)]


def raise_failure(name: str, entry: Any, code: int, status: tuple[int, ...], node: int) -> None:
    """Raise what a failed check or kernel stands for."""
    kind, value, extent = status[0], status[1], status[2]
    lines = entry.description["lines"]
    if kind in (_INDEX, _DIVISION, _POWER, _UNFIT):
        found = lines.of_kernel(node, kind == _INDEX)
        where, others = _split(found)
        if isinstance(where, Location) and not others:
            name = lines.operator(where, kind) or name
        if kind == _INDEX:
            message = f"{name}: index {value} is out of range for a dimension of size {extent}"
            raise BoundsError(message, others, location=where)
        if kind == _DIVISION:
            raise DivisionError(f"{name}: integer division or remainder by zero", others, location=where)
        if kind == _UNFIT:
            wanted, demand = list(DEMANDS.items())[extent]
            if wanted == "divisor":
                raise DivisionError(f"{name}: division by zero", others, location=where)
            if wanted == "real":
                raise DomainError(
                    f"{name}: a negative number to a power that is no whole number is complex", others, location=where
                )
            if wanted == "bounded":
                raise NumberError(f"{name}: a power is greater than the largest float", others, location=where)
            got = struct.unpack("d", struct.pack("q", value))[0]
            raise DomainError(f"{name}: needs {demand.words}, got {got:g}", others, location=where)
        raise DomainError(f"{name}: integers to negative integer powers are not allowed", others, location=where)
    if code == _LATE_SIZE:
        raise ShapeError(f"{name}: a size that a tensor's value gives is negative", hint="clamp it to 0")
    if code > 0:
        where, _ = _split(lines.of_check(code))
        raise ShapeError(f"{name}: sizes that are known only when this line runs do not fit together", location=where)
    raise InternalError(f"{name}: the program stopped with check {code}, status {status}, node {node}")


def _composites(graph: Graph) -> Iterator[Node]:
    """What the user called, in branches and loops too, but not what that calls."""
    for node in graph.nodes:
        if node.op not in PRIMITIVES:
            yield node
        else:
            for region in node.regions:
                yield from _composites(region)


def _can_fail(node: Node, line: Location, kind: int) -> bool:
    """Whether a composite's body looks elements up, or asks something of them, on a line."""
    for inner in (each for region in node.regions for each in region.walk() if each.op in PRIMITIVES):
        fits = PRIMITIVES[inner.op].kind == INDEXING if kind == _INDEX else kind == _UNFIT and inner.op in DEMANDS
        where = inner.location
        if fits and where is not None and (where.file, where.line) == (line.file, line.line):
            return True
    return False


def _split(lines: list[Location]) -> tuple[Location | bool, list[str]]:
    """The line to name, and a word about others that it may be just as well."""
    if not lines:
        return True, []
    return lines[0], [f"here or at {line}" for line in lines[1:]]
