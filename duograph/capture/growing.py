"""Lists that grow in captured loops: what each turn appends is a row of a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import value_of, wrap

if TYPE_CHECKING:
    from .builder import CaptureBuilder


class Rows:
    """Stands in a list for the items that a loop appended, as many as only the run knows: their tensors are rows of stacks."""

    __slots__ = ("like", "stacks")

    def __init__(self, like: Any, stacks: list[Any]) -> None:
        self.like = like
        self.stacks = stacks

    def item(self, number: Any) -> Any:
        from .merge import rebuild

        rows = iter([stack[number] for stack in self.stacks])
        return rebuild(self.like, lambda: next(rows))

    def __getattr__(self, name: str) -> Any:
        raise _refusal()


def _refusal() -> CaptureError:
    return CaptureError(
        "static: how many tensors this list holds is known only when the loop that appends to it has run",
        hint="stack or cat the list, take its length, go over it with for, or index it",
        location=user_location(),
    )


def grows(value: Any) -> bool:
    """Whether it is a list whose length only the run knows."""
    return type(value) is list and any(type(item) is Rows for item in value)


def tensors_of(items: Sequence[Any]) -> list[Any]:
    """The tensors that items of a list are made of."""
    from .merge import leaves

    return [leaf.value for item in items for leaf in leaves(item, "")]


def appended(container: list[Any], saved: list[Any]) -> list[Any] | None:
    """What a turn appended to a list, tensors or tuples of them; None if it did something else to it."""
    if len(container) < len(saved) or any(a is not b for a, b in zip(container, saved)):
        return None
    new = container[len(saved) :]
    return new if all(isinstance(x, core.Tensor) for x in tensors_of(new)) else None


def extend(builder: CaptureBuilder, container: list[Any], new: list[Any], stacks: list[Any], turns: int | None) -> None:
    """The list as it is after the loop; `stacks`: the rows of each tensor that a turn appends."""
    from .merge import rebuild

    if turns is None:
        _check_alike([*(x for x in container if type(x) is not Rows), *new])
        count = len(stacks) // len(new)
        made = [stacks[k::count] for k in range(count)]
        container.append(Rows(new[0], [_interleaved(parts) for parts in made]))
        return
    plain = len(new) == 1 and isinstance(new[0], core.Tensor)
    for j in range(turns):
        rows = iter([stack[j] for stack in stacks])
        container += [rebuild(item, lambda: next(rows)) for item in new]  # noqa: B023
        if plain:
            builder.rows[id(container[-1])] = (stacks[0], j, turns, container[-1])


def _interleaved(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return REGISTRY["stack"].op(parts, 1).flatten(0, 1)


def _check_alike(items: Sequence[Any]) -> None:
    from .merge import describe, leaves, same_structure

    first = items[0]
    for item in items[1:]:
        alike = same_structure(first, item)
        for a, b in zip(leaves(first, ""), leaves(item, "")) if alike else ():
            both = isinstance(a.value, core.Tensor) and isinstance(b.value, core.Tensor)
            alike = alike and both and a.value.dtype is b.value.dtype and tuple(a.value.shape) == tuple(b.value.shape)
        if not alike:
            raise CaptureError(
                "static: a list that grows in a loop whose number of turns only each run knows holds unlike items: "
                f"{describe(first)} and {describe(item)}",
                hint="let all items be tensors of one dtype and shape, or tuples of such; or use several lists",
                location=user_location(),
            )


def joined(builder: CaptureBuilder, items: Sequence[Any]) -> Rows:
    """All items of a growing list as rows."""
    if len(items) == 1:
        found: Rows = items[0]
        return found
    rows = [x for x in items if type(x) is Rows]
    _check_alike([x.like if type(x) is Rows else x for x in items])
    parts = [x.stacks if type(x) is Rows else [t.unsqueeze(0) for t in tensors_of([x])] for x in items]
    made = Rows(rows[0].like, [REGISTRY["cat"].op(list(part), 0) for part in zip(*parts)])
    for stack, part in zip(made.stacks, zip(*parts)):
        builder.aliases.lend(stack, part)
    return made


def length(items: list[Any]) -> Any:
    """How many items a growing list holds, as a traced number."""
    count: Any = sum(type(x) is not Rows for x in items)
    sizes = [x.stacks[0].shape[0] for x in items if type(x) is Rows]
    for size in sizes:
        count = wrap(value_of(size)) + count
    return count


def item(builder: CaptureBuilder, items: list[Any], key: Any) -> Any:
    """An item of a growing list."""
    first = next(i for i, x in enumerate(items) if type(x) is Rows)
    last = next(i for i in range(len(items) - 1, -1, -1) if type(items[i]) is Rows) - len(items)
    if type(key) is int and (0 <= key < first or last < key < 0):
        return items[key]
    if type(key) is slice:
        raise _refusal()
    if type(key) is int and key >= first == len(items) - 1:
        return items[first].item(key - first)
    rows = joined(builder, items)
    if type(key) is not int or key >= 0:
        return rows.item(key)
    size = rows.stacks[0].shape[0]
    if key == -1:
        return rows.item(size - 1)
    number = wrap(value_of(size))
    return rows.item(REGISTRY["where"].op(number < -key, number, number + key))  # no further back than the first


def whole(builder: CaptureBuilder, items: Any) -> Any:
    """The stack whose rows a list holds, in order and all of them; None if it is another list."""
    if not isinstance(items, (list, tuple)) or not items:
        return None
    if grows(items):
        rows = joined(builder, items)
        return rows.stacks[0] if isinstance(rows.like, core.Tensor) else None
    first = builder.rows.get(id(items[0]))
    if first is None or first[2] != len(items):
        return None
    for j, row in enumerate(items):
        found = builder.rows.get(id(row))
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
