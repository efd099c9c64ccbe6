"""The tape as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError

if TYPE_CHECKING:
    from duograph._core import Tensor


class Tape:
    """The recorded graph that leads to a tensor; `print(tape)` shows it, `len(tape)` counts its operations."""

    def __init__(self, tensor: Tensor) -> None:
        self.nodes: list[Any] = []
        self.leaves: list[Any] = []
        self._names: dict[Any, str] = {}
        self._collect(tensor)

    def _collect(self, tensor: Any) -> None:
        root = tensor.grad_fn
        if root is None:
            return
        done: set[Any] = set()
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:  # post-order, without recursion: inputs before what uses them
            node, ready = stack.pop()
            if ready:
                self._names[node] = f"%{len(self.nodes)}"
                self.nodes.append(node)
                continue
            if node in done:
                continue
            done.add(node)
            stack.append((node, True))
            for parent in reversed(node.parents):
                if isinstance(parent, core.Tensor):
                    if all(parent is not leaf for leaf in self.leaves):
                        self.leaves.append(parent)
                elif parent is not None and parent not in done:
                    stack.append((parent, False))

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        if not self.nodes:
            return "nothing recorded"
        leaf_names = {id(leaf): f"leaf{i}" for i, leaf in enumerate(self.leaves)}
        rows = [(name, f"{leaf.dtype.name}{list(leaf.shape)}", "") for leaf, name in zip(self.leaves, leaf_names.values())]
        for node in self.nodes:
            inputs = ", ".join(
                "_" if p is None else leaf_names[id(p)] if isinstance(p, core.Tensor) else self._names[p] for p in node.parents
            )
            specs = ", ".join(f"{dtype}{list(shape)}" for dtype, shape in node.output_specs)
            where = "" if node.location is None else str(node.location)
            rows.append((f"{self._names[node]} = {node.op_name}({inputs})", specs, where))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)

    __repr__ = __str__


def tape(tensor: Tensor) -> Tape:
    """The recorded graph that leads to `tensor`: each operation with its inputs, its shape and the user's line."""
    if not isinstance(tensor, core.Tensor):
        raise ArgumentError(f"tape: expected a Tensor, got {type(tensor).__name__}")
    return Tape(tensor)
