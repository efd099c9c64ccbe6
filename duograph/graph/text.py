"""A graph as text: one line an operation, and a table of what it consists of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .elements import Operation, Slot

if TYPE_CHECKING:
    from .building import Graph


def graph_text(graph: Graph) -> str:
    """One line for each operation, those of branches and loops indented."""
    return "\n".join(_line(node) for node in graph.get_operations())


def _line(node: Operation) -> str:
    depth, region = 0, node.region
    while region is not None:
        depth, region = depth + 1, region.outer
    inputs = [x.name for x in node.inputs] + [f"^{c.name}" for c in node.control_inputs]
    attrs = [f"{key}={_plain(value)}" for key, value in node.attrs.items() if not _only_slots(value) and key != "captured"]
    gives = ", ".join(repr(x.type) for x in node.outputs)
    where = f"    # {node.location.file}:{node.location.line}" if node.location else ""
    return f"{'  ' * depth}{node.name} = {node.op}({', '.join(inputs + attrs)})" + (f" : {gives}" if gives else "") + where


def _only_slots(value: Any) -> bool:
    return isinstance(value, Slot) or (isinstance(value, (list, tuple)) and bool(value) and all(map(_only_slots, value)))


def _plain(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return str(name) if name is not None else repr(value)


def graph_summary(graph: Graph) -> str:
    """A table: operations by type, variables with shapes and bytes, placeholders."""
    from .variables import Variable

    operations = graph.get_operations()
    rows: list[tuple[str, str, str]] = [("operations", str(len(operations)), "")]
    rows += [(f"  {kind}", str(count), "") for kind, count in Counter(node.op for node in operations).most_common()]
    variables = [x for node in operations for x in node.outputs if isinstance(x, Variable)]
    total = sum((v.shape.num_elements() or 0) * v.dtype.itemsize for v in variables)
    rows.append(("variables", str(len(variables)), f"{total:,} bytes".replace(",", " ")))
    rows += [(f"  {v.node.name}", repr(v.type), "trainable" if v.trainable else "") for v in variables]
    fed = [node for node in operations if node.op.startswith("Placeholder")]
    rows.append(("placeholders", str(len(fed)), ""))
    rows += [(f"  {node.name}", repr(node.outputs[0].type), "") for node in fed]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)
