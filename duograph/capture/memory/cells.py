"""Mutable storages of a captured program, made functional.

A storage is a `Cell` that holds the current value of its root; every tensor on it is a `View`: the root, or a chain of
steps (slice, permute, reshape, broadcast, affine map, a row that only the run knows) away from it. A write goes up the
chain and gives the cell its next value; a read of a view whose cell was written since goes down the chain again.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph._core import int64
from duograph.errors import CaptureError
from duograph.ir.builder import Builder, current
from duograph.ir.dim import Dim, is_one
from duograph.ir.graph import Node, Value
from duograph.ir.types import TensorType
from duograph.passes.lowering.views import affine_strides

if TYPE_CHECKING:
    from ..builder import CaptureBuilder

STEPS = frozenset({"slice", "permute", "reshape", "broadcast", "affine"})
Geometry = tuple[int, tuple[int, ...], tuple[int, ...]]  # offset, shape, strides


_versions = itertools.count(1)


class Step(NamedTuple):
    """One index map of a view."""

    op: str
    attrs: dict[str, Any]
    before: TensorType
    after: TensorType


class Layout(NamedTuple):
    """How a tensor lies in memory in dynamic mode."""

    strides: tuple[Any, ...]
    condition: Any = True  # under which it does: a value, or True where there is one layout only, or it is not followed which


class Cell:
    """One storage. `input`: the program input it starts as, None for storages born in the program."""

    __slots__ = ("born", "input", "opaque", "root", "value", "version")

    def __init__(self, value: Value, input: Value | None = None) -> None:
        self.value = self.born = value
        self.input = input
        self.version = 0
        self.root = View(self, (), value, contiguous(value.shape))
        self.opaque = False  # some view of it has an index map that is not known

    def changed(self) -> None:
        """It holds another value: of a version that it never had, also where a region is opened again."""
        self.version = next(_versions)

    @property
    def written(self) -> bool:
        return self.version > 0


class View:
    """A tensor on a cell."""

    __slots__ = ("cell", "chain", "history", "layouts", "value", "version")

    def __init__(self, cell: Cell, chain: tuple[Step, ...], value: Value, strides: tuple[Any, ...]) -> None:
        self.cell = cell
        self.chain = chain
        self.value = value
        self.version = cell.version
        self.history = cell.version  # the version that the tensor's place on the tape belongs to
        self.layouts: tuple[Layout, ...] = (Layout(strides),)

    @property
    def strides(self) -> tuple[Any, ...]:
        """Of a view that is not the result of a branch or loop, or made from one."""
        return self.layouts[0].strides

    @strides.setter
    def strides(self, strides: tuple[Any, ...]) -> None:
        self.layouts = (Layout(strides),)

    def current(self, builder: CaptureBuilder) -> Value:
        """The value the tensor has now."""
        if self.version != self.cell.version:
            builder.note_view(self)
            self.value = apply_chain(builder, self.chain, self.cell.value)
            self.version = self.cell.version
        return self.value

    def write(self, builder: CaptureBuilder, value: Value) -> None:
        """The tensor's elements become `value`."""
        cell = self.cell
        if cell.opaque:
            raise CaptureError("static: a write to a tensor with views whose layout is not known at capture")
        levels = [cell.value]
        for step in self.chain[:-1]:
            levels.append(_down(builder, step, levels[-1]))
        result = value
        for step, whole in zip(reversed(self.chain), reversed(levels)):
            result = _up(builder, step, whole, result)
        builder.note_cell(cell)
        builder.note_view(self)
        cell.value = result
        cell.changed()
        self.value = value
        self.version = cell.version


class Storage:
    """All tensors met so far on one concrete buffer."""

    __slots__ = ("tensors", "views", "written")

    def __init__(self) -> None:
        self.views: dict[Geometry, View] = {}
        self.tensors: dict[Geometry, Any] = {}
        self.written = False


def apply_chain(builder: Builder, chain: tuple[Step, ...], value: Value) -> Value:
    for step in chain:
        value = _down(builder, step, value)
    return value


def _down(builder: Builder, step: Step, value: Value) -> Value:
    if step.op == "row":
        return builder.emit("row", [value, step.attrs["index"]], {}, [step.after])[0]
    return builder.emit(step.op, [value], step.attrs, [step.after])[0]


def _up(builder: Builder, step: Step, whole: Value, part: Value) -> Value:
    """`whole` after `part` was written through the step."""
    if step.op == "row":
        return builder.emit("row_update", [whole, step.attrs["index"], part], {}, [step.before])[0]
    if step.op == "reshape":
        return builder.emit("reshape", [part], {}, [step.before])[0]
    if step.op == "permute":
        dims = step.attrs["dims"]
        inverse = tuple(sorted(range(len(dims)), key=dims.__getitem__))
        return builder.emit("permute", [part], {"dims": inverse}, [step.before])[0]
    if step.op == "slice":
        attrs = {"starts": step.attrs["starts"], "steps": step.attrs["steps"]}
        return builder.emit("slice_update", [whole, part], attrs, [step.before])[0]
    if step.op == "affine":
        return _up_affine(builder, step, whole, part)
    if step.before.size == step.after.size:  # a broadcast that only adds dimensions of size 1
        return builder.emit("reshape", [part], {}, [step.before])[0]
    raise CaptureError("in-place write into an expanded tensor: several of its elements share one place in memory")


def _up_affine(builder: Builder, step: Step, whole: Value, part: Value) -> Value:
    """Puts the part's elements where an affine map takes them from."""
    if not step.attrs["distinct"]:
        raise CaptureError("in-place write into overlapping windows: several elements share one place in memory")
    kind, flat, count = TensorType(int64, step.before.shape), (step.before.size,), (step.after.size,)
    (places,) = builder.emit("iota", [], {"dim": 0}, [TensorType(int64, flat)])
    (places,) = builder.emit("reshape", [places], {}, [kind])
    (places,) = builder.emit("affine", [places], step.attrs, [TensorType(int64, step.after.shape)])
    (places,) = builder.emit("reshape", [places], {}, [TensorType(int64, count)])
    (old,) = builder.emit("reshape", [whole], {}, [TensorType(step.before.dtype, flat)])
    (new,) = builder.emit("reshape", [part], {}, [TensorType(step.before.dtype, count)])
    (put,) = builder.emit("take_put", [old, places, new], {"dim": 0}, [TensorType(step.before.dtype, flat)])
    return builder.emit("reshape", [put], {}, [step.before])[0]


def contiguous(shape: tuple[Any, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * (max(size, 1) if isinstance(size, int) else size)
    return tuple(reversed(strides))


def steps_between(base: Value, view: Value) -> tuple[Step, ...] | None:
    """The movement nodes that lead from one value to another; None if they do not."""
    found: list[Step] = []
    value = view
    while value is not base:
        node: Node | None = value.node
        if node is None or node.op not in STEPS:
            return None
        found.append(Step(node.op, node.attrs, node.inputs[0].type, value.type))
        value = node.inputs[0]
    return tuple(reversed(found))


def strides_after(step: Step, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides a step gives in memory; None where it must copy."""
    if step.op == "permute":
        return tuple(strides[d] for d in step.attrs["dims"])
    if step.op == "affine":
        return tuple(affine_strides(step.attrs["offsets"], step.attrs["coefficients"], strides)[0])  # type: ignore[arg-type]
    if step.op == "slice":
        return tuple(s * k for s, k in zip(strides, step.attrs["steps"]))
    before: tuple[Any, ...] = step.before.shape
    after: tuple[Any, ...] = step.after.shape
    if step.op == "broadcast":
        lead = len(after) - len(before)
        kept = (0 if b == 1 and a != 1 else s for a, b, s in zip(after[lead:], before, strides))
        return (*[0] * lead, *kept)
    return reshaped_strides(before, strides, after)


def view_layout(chain: tuple[Step, ...], offset: int, strides: tuple[int, ...]) -> tuple[int, tuple[int, ...]] | None:
    """Offset and strides of a view in the memory of its root; None if a step copies, or only the run knows."""
    for step in chain:
        if step.op == "row":
            return None
        if step.op == "slice":
            offset += sum(a * s for a, s in zip(step.attrs["starts"], strides))
        elif step.op == "affine":
            offset += affine_strides(step.attrs["offsets"], step.attrs["coefficients"], strides)[1]  # type: ignore[assignment]
        after = strides_after(step, strides)
        if after is None:
            return None
        strides = after
    return offset, strides


def reshaped_strides(before: tuple[int, ...], strides: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of a reshape that moves nothing, as NumPy and PyTorch find them; None if there are none."""
    if any(isinstance(size, Dim) for size in (*before, *strides, *after)):
        if strides == contiguous(before):
            return contiguous(after)
        places = [d for d, size in enumerate(after) if not is_one(size)]
        kept = [(size, stride) for size, stride in zip(before, strides) if not is_one(size)]
        if tuple(size for size, _ in kept) == tuple(after[d] for d in places):  # only 1s come or go
            known = dict(zip(places, (stride for _, stride in kept)))
            return tuple(known.get(d, 1) for d in range(len(after)))
        return _reshaped_between(before, strides, after)
    if 0 in before:
        return contiguous(after)
    old = [(n, s) for n, s in zip(before, strides) if n != 1]
    result = [0] * len(after)
    at = len(after) - 1
    while old:
        # One run of old dimensions that lie in memory like one.
        size, stride = old.pop()
        run, step = size, stride
        while old and old[-1][1] == run * stride:
            run *= old.pop()[0]
        left = run
        while at >= 0 and (left > 1 or after[at] == 1):
            if left % after[at]:
                return None
            result[at] = step
            step *= after[at]
            left //= after[at]
            at -= 1
        if left != 1:
            return None
    while at >= 0:
        if after[at] != 1:
            return None
        result[at] = 1
        at -= 1
    return tuple(result)


def _reshaped_between(before: tuple[Any, ...], strides: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The same with symbols for sizes: of the dimensions between those that stay; None if only the run knows their sizes."""
    first = last = 0
    most = min(len(before), len(after))
    while first < most and before[first] == after[first]:
        first += 1
    while last < most - first and before[len(before) - 1 - last] == after[len(after) - 1 - last]:
        last += 1
    end = len(before) - last
    given = before[first:end], strides[first:end], after[first : len(after) - last]
    sizes = current().call_sizes  # type: ignore[attr-defined]  # what is asked of symbols is a guard
    if not sizes.knows(*(size for part in given for size in part)):
        return None
    found = reshaped_strides(*(tuple(map(sizes.number, part)) for part in given))
    if found is None:
        return None
    return (*strides[:first], *(getattr(stride, "expr", stride) for stride in found), *strides[end:])


def relate(outer: Geometry, inner: Geometry, dtype: Any) -> tuple[Step, ...] | None:
    """How a tensor that lies inside a contiguous one is a view of it; None if it is not a plain one."""
    shape, strides = outer[1], outer[2]
    if strides != contiguous(shape) or 0 in shape or 0 in inner[1]:
        return None
    total = 1
    for n in shape:
        total *= n
    offset = inner[0] - outer[0]
    dims = [(s, n, d) for d, (n, s) in enumerate(zip(inner[1], inner[2])) if n != 1]
    if any(s <= 0 for s, _, _ in dims) or offset < 0:
        return None
    dims.sort(key=lambda x: -x[0])
    # Cut the flat storage into digits, one per dimension of the view, from the widest to the narrowest.
    digits: list[int] = []
    above = total
    for s, _, _ in dims:
        if above % s:
            return None
        digits.append(above // s)
        above = s
    digits.append(above)
    starts: list[int] = []
    rest = offset
    for s, _, _ in dims:
        starts.append(rest // s)
        rest %= s
    starts.append(rest)
    sizes = [n for _, n, _ in dims] + [1]
    if any(start + n > digit for start, n, digit in zip(starts, sizes, digits)):
        return None
    steps = [
        Step("reshape", {}, TensorType(dtype, shape), TensorType(dtype, tuple(digits))),
        Step(
            "slice", {"starts": tuple(starts), "steps": (1,) * len(starts)},
            TensorType(dtype, tuple(digits)), TensorType(dtype, tuple(sizes)),
        ),
    ]  # fmt: skip
    order = [d for _, _, d in dims]
    flat = tuple(n for n in sizes[:-1])
    steps.append(Step("reshape", {}, steps[-1].after, TensorType(dtype, flat)))
    permutation = tuple(sorted(range(len(order)), key=order.__getitem__))
    moved = tuple(flat[p] for p in permutation)
    if permutation != tuple(range(len(permutation))):
        steps.append(Step("permute", {"dims": permutation}, steps[-1].after, TensorType(dtype, moved)))
    steps.append(Step("reshape", {}, steps[-1].after, TensorType(dtype, inner[1])))
    return tuple(step for step in steps if step.op == "slice" or step.before.shape != step.after.shape or step.op == "permute")
