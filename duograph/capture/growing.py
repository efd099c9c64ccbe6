"""Lists that grow in captured loops: what each turn appends is a row of a stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ops.definition import REGISTRY

if TYPE_CHECKING:
    from .builder import CaptureBuilder


class Rows:
    """Stands in a list for the tensors that a loop appended, as many as it made turns."""

    __slots__ = ("stack",)

    def __init__(self, stack: Any) -> None:
        self.stack = stack

    def __getattr__(self, name: str) -> Any:
        raise CaptureError(
            "static: how many tensors this list holds is known only when the loop that appends to it has run",
            hint="stack or cat the list, take its length, go over it with for, or index its first or last item",
            location=user_location(),
        )


def appended(container: list[Any], saved: list[Any]) -> list[Any] | None:
    """The tensors that a turn appended to a list; None if it did something else to it."""
    if len(container) < len(saved) or any(a is not b for a, b in zip(container, saved)):
        return None
    new = container[len(saved) :]
    return new if all(isinstance(x, core.Tensor) for x in new) else None


def extend(builder: CaptureBuilder, container: list[Any], stacks: list[Any], turns: int | None) -> None:
    """The list as it is after the loop."""
    if turns is None:
        if len(stacks) != 1 or container:
            raise CaptureError(
                "static: a list grows by several tensors a turn, or was not empty, in a loop whose number of turns "
                "only each run knows",
                hint="append to an empty list, one tensor a turn: use several lists",
                location=user_location(),
            )
        container.append(Rows(stacks[0]))
        return
    for j in range(turns):
        for stack in stacks:
            item = stack[j]
            container.append(item)
            if len(stacks) == 1:
                builder.rows[id(item)] = (stack, j, turns, item)


def whole(builder: CaptureBuilder, items: Any) -> Any:
    """The stack whose rows a list holds, in order and all of them; None if it is another list."""
    if not isinstance(items, (list, tuple)) or not items:
        return None
    if len(items) == 1 and isinstance(items[0], Rows):
        return items[0].stack
    first = builder.rows.get(id(items[0]))
    if first is None or first[2] != len(items):
        return None
    for j, item in enumerate(items):
        found = builder.rows.get(id(item))
        if found is None or found[0] is not first[0] or found[1] != j:
            return None
    return first[0]


def joining(builder: CaptureBuilder, function: Any) -> Callable[..., Any] | None:
    """`stack` and `cat`, which need not take rows apart to put them together again; None for other functions."""
    name = next((n for n in ("stack", "cat") if function is REGISTRY[n].exported), None)
    if name is None:
        return None

    def join(tensors: Any, dim: Any = 0, *args: Any, **kwargs: Any) -> Any:
        found = None if args or kwargs or type(dim) is not int else whole(builder, tensors)
        if found is None:
            return function(tensors, dim, *args, **kwargs)
        rank = found.ndim if name == "stack" else found.ndim - 1
        at = dim + rank if dim < 0 else dim
        if not 0 <= at < rank:
            return function(tensors, dim)
        moved = found if at == 0 else found.permute((*range(1, at + 1), 0, *range(at + 1, found.ndim)))
        if name == "stack":
            return moved.clone() if moved is found else moved
        shape = tuple(moved.shape)
        return moved.reshape((*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]))

    return join
