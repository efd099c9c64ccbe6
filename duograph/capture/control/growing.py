"""Lists that grow in captured loops: what each turn appends is a row of a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import ArgumentError, CaptureError
from duograph.ir.builder import current
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import is_weak, value_of, wrap

from ..values.asked import number_of
from ..values.sizes import Unsettled
from .handed_boxes import COUNTER
from .regions import flip

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


_SMALL = 4  # so far from the end of a list an item is looked for by branches


class Rows:
    """Stands in a list for the items that a loop appended, as many as only the run knows: their tensors are rows of stacks.

    mask   which rows are items of the list, as a tensor of truths; None if all of them are
    """

    __slots__ = ("like", "mask", "stacks")

    def __init__(self, like: Any, stacks: list[Any], mask: Any = None) -> None:
        self.like = like
        self.stacks = stacks
        self.mask = mask

    def length(self) -> Any:
        """How many items these are, as a size expression."""
        count = self.stacks[0].size(0)
        return getattr(count, "expr", count)

    def number(self) -> Any:
        """The same as a traced number."""
        if self.mask is None:
            return wrap(value_of(self.stacks[0].shape[0]))
        from .merge import adopt

        return adopt(self.mask.sum(), COUNTER)

    def item(self, number: Any) -> Any:
        from .merge import rebuild

        if isinstance(number, core.Tensor):
            number = _place(number)
        rows = iter([stack[number] for stack in self.stacks])
        return rebuild(self.like, lambda: next(rows))

    def __getattr__(self, name: str) -> Any:
        _settle(self)


class Earlier(Rows):
    """Stands in a list, while a turn of a loop is captured, for what the turns before appended."""

    __slots__ = ("each", "last", "number", "turn")

    def __init__(self, turn: Any, each: int | None) -> None:
        super().__init__(None, [])
        self.turn = turn  # the number of the turn, as a traced number
        self.each = each  # items that a turn appends; None if that differs
        self.last: Any = None  # the last of them
        self.number: Any = None  # how many there are, where turns append different numbers

    @property
    def count(self) -> Any:
        """How many items these are, as a traced number."""
        if self.each is None and self.number is None:
            return 0  # the loop is captured again with their number
        return self.number if self.each is None else self.turn * self.each


def _place(index: Any) -> Any:
    """A tensor that is the index of a list, as a traced number: the row is then the item itself, no copy."""
    from .merge import adopt

    if index.dtype.is_floating_point and is_weak(index):
        raise TypeError("list indices must be integers or slices, not float")
    if index.dtype.is_floating_point or index.numel() != 1:
        raise ArgumentError("index: only a Tensor with one integer can be used as an index")
    number = number_of(index)
    return adopt(index if number is None else number, COUNTER)


def _settle(rows: Rows) -> NoReturn:
    """A list with these items is used as a list whose length Python knows: so it must be, or that is an error."""
    if type(rows) is Earlier:
        raise CaptureError(
            "static: a loop reads a list to which it appends, and only the run knows how many items there are",
            hint="keep what a turn needs of the turns before in a variable",
            location=user_location(),
        )
    sizes = current().call_sizes  # type: ignore[attr-defined]
    length = rows.length()
    if rows.mask is None and sizes.knows(length):
        sizes.pin_symbols(length)
        raise Unsettled("the length of a list that a loop has filled is needed")
    raise CaptureError(
        "static: how many tensors this list holds is known only when the loop that appends to it has run",
        hint="stack or cat the list, take its length, go over it with for, or index it",
        location=user_location(),
    )


def _no_item(self: Rows, *args: Any) -> NoReturn:
    """What Python does with an item of a list: this is none."""
    _settle(self)


_BINARY = "add sub mul matmul truediv floordiv mod pow and or xor lshift rshift"
_OTHER = "eq ne lt le gt ge neg pos abs invert bool len iter getitem setitem contains call int float index format str repr enter"
for _name in [*_BINARY.split(), *("r" + name for name in _BINARY.split()), *_OTHER.split()]:
    setattr(Rows, f"__{_name}__", _no_item)
Rows.__hash__ = object.__hash__  # type: ignore[method-assign]


def settled(value: Any) -> Any:
    """The value, which Python goes over or takes apart: no list whose length only the run knows."""
    if (type(value) is list or type(value) is tuple) and value:
        for item in value:
            if type(item) in _STAND_INS:
                _settle(item)
    return value


_STAND_INS = (Rows, Earlier)


def grows(value: Any) -> bool:
    """Whether it is a list whose length only the run knows."""
    return type(value) is list and any(type(item) in _STAND_INS for item in value)


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

    if any(type(item) is Rows for item in new):
        from .masked import after_loop

        builder.lists_grew = True
        container.append(after_loop(builder, new, stacks))
        return
    if turns is None:
        check_alike([*(x for x in container if type(x) is not Rows), *new])
        builder.lists_grew = True
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


def check_alike(items: Sequence[Any]) -> None:
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


def joined(builder: CaptureBuilder, items: Sequence[Any], others: bool = True) -> Rows:
    """All items of a growing list as rows; `others`: a row that is looked at may be an item that the program has, too."""
    for earlier in items:
        if type(earlier) is Earlier:
            _settle(earlier)
    from .masked import present, put_together

    likes = [x.like if type(x) is Rows else x for x in items]
    check_alike(likes)
    if len(items) == 1:
        return present(builder, items[0])
    alone = not builder.regions and all(type(x) is Rows for x in items)
    parts = items if alone else [present(builder, x) if type(x) is Rows else x for x in items]
    made = present(builder, put_together(builder, parts, likes[0], surely=others))
    if alone and type(items) is list:
        items[:] = [made]
    return made


def part(builder: CaptureBuilder, items: list[Any], key: slice) -> list[Any]:
    """A slice of a growing list."""
    rows = joined(builder, items)
    if key.step == -1 and key.start is None and key.stop is None:
        made = Rows(rows.like, [flip(stack) for stack in rows.stacks])
    elif key.step is None or (type(key.step) is int and key.step > 0):
        made = Rows(rows.like, [stack[key] for stack in rows.stacks])
    else:
        _settle(rows)
    for stack, whole in zip(made.stacks, rows.stacks):
        builder.aliases.lend(stack, [whole])
    return [made]


def holds_any(items: Any) -> Any:
    """Whether a growing list holds anything: known if it holds items of before, or if a size says so; else a tensor."""
    if any(type(x) not in _STAND_INS for x in items):
        return True
    if any(type(x) is Earlier for x in items):
        return length(items) > 0
    builder: Any = current()
    lengths = [rows.length() for rows in items]
    if all(rows.mask is None for rows in items) and builder.call_sizes.knows(*lengths):
        return any([builder.call_sizes.decide(0, "lt", length) for length in lengths])
    return length(items) > 0


def length(items: list[Any]) -> Any:
    """How many items a growing list holds, as a traced number."""
    count: Any = sum(type(x) not in _STAND_INS for x in items)
    for earlier in items:
        if type(earlier) is Earlier:
            count = earlier.count + count
    for x in items:
        if type(x) is Rows:
            count = x.number() + count
    return count


def length_of(value: Any) -> Any:
    """`len(value)`."""
    if type(value) is list:
        builder: Any = current()
        builder.read_length.add(id(value))
    if grows(value):
        return length(value)
    return value.size(0) if isinstance(value, core.Tensor) and value._traced is not None and value.ndim else len(value)


def last_of(items: Sequence[Any]) -> Any:
    """The last item of a list in a loop that appends to it; some items may be masked."""
    last = items[-1]
    if type(last) is Earlier:
        return last.last
    if type(last) is not Rows or last.mask is None:
        return last
    from .merge import leaves, rebuild

    found = [leaf.value for leaf in leaves(last_of(items[:-1]), "")]
    for number in range(last.stacks[0].shape[0]):
        there = last.mask[number]
        found = [REGISTRY["where"].op(there, stack[number], before) for stack, before in zip(last.stacks, found)]
    queue = iter(found)
    return rebuild(last.like, lambda: next(queue))


def item(builder: CaptureBuilder, items: list[Any], key: Any) -> Any:
    """An item of a growing list."""
    from .masked import present

    first = next(i for i, x in enumerate(items) if type(x) in _STAND_INS)
    last = next(i for i in range(len(items) - 1, -1, -1) if type(items[i]) in _STAND_INS) - len(items)
    if type(key) is int and (0 <= key < first or last < key < 0):
        return items[key]
    if any(type(x) is Earlier and x.last is not None for x in items) and type(key) is int and key == -1:
        return last_of(items)
    if type(key) is slice:
        return part(builder, items, key)
    if type(key) is int and key < 0 and last < -1:
        return item(builder, items[: last + 1], key - last - 1)
    after = first > 0 and first == len(items) - 1 and type(items[first]) is Rows
    if after and type(key) is int and -_SMALL <= key < 0:
        return _from_the_end(builder, items[:first], present(builder, items[first]), -key)
    if after and type(key) is int and key >= first:
        items, key = items[first:], key - first
    rows = joined(builder, items, type(key) is not int or key < first)
    if type(key) is not int:
        return rows.item(key)
    length, sizes = rows.length(), builder.call_sizes
    if sizes.knows(length):
        if not (sizes.decide(key, "lt", length) if key >= 0 else sizes.decide(-key, "le", length)):
            raise IndexError("list index out of range")
        return rows.item(key if key >= 0 else rows.stacks[0].shape[0] + key)
    if key >= 0:
        return rows.item(wrap(builder.number(key)))
    number = rows.number()
    return rows.item(REGISTRY["where"].op(number < -key, number, number + key))  # no further back than the first


def _from_the_end(builder: CaptureBuilder, before: list[Any], rows: Rows, place: int) -> Any:
    """The item at this place, counted from 1 at the end, of items and what a loop appended to them: the very item."""
    from .control import ControlFlow

    size, length = rows.stacks[0].shape[0], rows.length()
    known = builder.call_sizes.knows(length)

    def are(count: int) -> Any:
        """Whether the loop appended so many items."""
        return builder.call_sizes.decide(count, "le", length) if known else wrap(value_of(size)) >= count

    def row() -> Any:
        if known:
            return rows.item(size - place)
        number = wrap(value_of(size)) - place
        return rows.item(REGISTRY["where"].op(number < 0, 0, number))  # the other side may be computed with this one

    def earlier(count: int, at: int) -> Any:
        if at == 0 or count == 0:
            return before[at]  # no further back than the first
        return ControlFlow.if_exp(are(count), lambda: before[at], lambda: earlier(count - 1, at - 1))

    return ControlFlow.if_exp(are(place), row, lambda: earlier(place - 1, len(before) - 1))


def _check_any(builder: CaptureBuilder, rows: Rows, name: str) -> None:
    """`stack` and `cat` raise where there is nothing to put together."""
    length, sizes = rows.length(), builder.call_sizes
    error = ArgumentError(f"{name}: needs at least one tensor")
    if not sizes.knows(length):
        from .branches import must

        must(rows.number() > 0, error)
    elif not sizes.decide(0, "lt", length):
        raise error


def whole(builder: CaptureBuilder, items: Any, name: str) -> Any:
    """The stack whose rows a list holds, in order and all of them; None if it is another list. For `stack` or `cat`.

    They raise where there are no rows; without a name nothing does.
    """
    if not isinstance(items, (list, tuple)) or not items:
        return None
    if grows(items):
        rows = joined(builder, items)
        if not isinstance(rows.like, core.Tensor):
            return None
        if name:
            _check_any(builder, rows, name)
        return rows.stacks[0]
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

    def join(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        (dim,) = given if len(given := (*args, *kwargs.values())) == 1 else (0,)
        plain = type(dim) is int and len(given) < 2 and kwargs.keys() <= {"dim", "axis"}
        found = whole(builder, tensors, name) if plain else None
        if found is None:
            return function(settled(tensors), *args, **kwargs)
        rank = found.ndim if name == "stack" else found.ndim - 1
        at = dim + rank if dim < 0 else dim
        if not 0 <= at < rank:
            return function(tensors, dim)
        moved = found if at == 0 else found.permute((*range(1, at + 1), 0, *range(at + 1, found.ndim)))
        if name == "stack":
            return moved.clone()
        shape = tuple(moved.shape)
        return moved.reshape((*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])).clone()

    return join


def stacking(builder: CaptureBuilder, function: Any) -> Callable[..., Any]:
    """A function of a list that stacks it, whose other arguments say what it gives for no rows."""

    def stack(rows: Any, *others: Any) -> Any:
        found = whole(builder, rows, "") if grows(rows) else None
        return function(settled(rows), *others) if found is None else found.clone()

    return stack


def whole_arguments(function: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a function that knows lists as Python does: no list whose length only the run knows may get there."""
    holder: Any = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "") if type(holder) is list else ""

    def checked(*args: Any, **kwargs: Any) -> Any:
        builder: Any = current()
        if builder.held_iterators:
            _check_held(builder, args)
        if not (builder.lists_grew or builder.regions):
            return call(*args, **kwargs)
        if name == "reverse" and grows(holder):
            holder[:] = item(builder, holder, slice(None, None, -1))
            return None
        if name and name != "extend" and not (name == "insert" and args[:1] == (0,)):
            settled(holder)
        if name != "extend":
            for value in (*args, *kwargs.values()):
                settled(value)
        return call(*args, **kwargs)

    return checked


def _check_held(builder: Any, args: Sequence[Any]) -> None:
    for iterators in builder.held_iterators:
        for value in args:
            if iterators.get(id(value), builder) is value:
                raise CaptureError(
                    "static: a branch or loop that is captured once takes items of an iterator that was made before it",
                    hint="go over a list or tensor instead, by its index",
                    location=user_location(),
                )
