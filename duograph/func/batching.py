"""Batching a graph: each value that depends on a batched one gets one more dimension in front. One rule per primitive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from duograph._stack import Location
from duograph.errors import CaptureError
from duograph.ir.builder import Builder
from duograph.ir.dim import Dim, Expr, product
from duograph.ir.effects import has_effects
from duograph.ir.graph import Node, Value
from duograph.ir.primitives import PRIMITIVES
from duograph.ir.types import TensorType

from .batching_control import control, flipped, guarded, touches_unlike

Rule = Callable[["Batching", Node, list[Value], list[bool]], list[Value]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """The rule of these primitives: at least one operand is batched, and so are all results."""

    def note(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return note


class Batching:
    """Writes a graph anew, batched, through a builder.

    Args:
        builder: where the nodes go.
        size: the number of examples.
        randomness: what random operators do: "error", "same" numbers for all examples, or "different" ones.
        keys: random keys that were drawn before, by their values in the graph that is read; None if all are drawn here.
    """

    def __init__(self, builder: Builder, size: Expr, randomness: str = "error", keys: dict[Value, Value] | None = None) -> None:
        self.builder = builder
        self.size = size
        self.randomness = randomness
        self.values: dict[Value, Value] = {}
        self.batched: set[Value] = set()  # of the graph that is read
        self.mask: Value | None = None  # for each example whether what is emitted is meant for it; None: for all
        self.unlike: dict[Dim, Value] = {}  # numbers of turns that differ, each with that of every example
        self.given = keys
        self.drawn: dict[Value, Value] = {}  # random keys

    def bind(self, value: Value, made: Value, batched: bool) -> None:
        """What stands for a value of the graph."""
        self.values[value] = made
        if batched:
            self.batched.add(value)
        else:
            self.batched.discard(value)

    def run(self, nodes: Iterable[Node]) -> None:
        """Write the nodes in order."""
        location, scope = self.builder.location, self.builder.scope
        try:
            for node in nodes:
                self.builder.location, self.builder.scope = node.location, node.scope
                self._node(node)
        finally:
            self.builder.location, self.builder.scope = location, scope

    def result(self, value: Value) -> Value:
        """A result with the batch dimension in front, whether it depends on the batch or not."""
        return self.stretched(self.values.get(value, value), value in self.batched, value.shape)

    def stretched(self, value: Value, batched: bool, shape: tuple[Expr, ...]) -> Value:
        """The value with a batch dimension."""
        if batched:
            return value
        return self.emit("broadcast", [value], {}, value.dtype, (self.size, *shape))

    def emit(self, op: str, inputs: Sequence[Value], attrs: dict[str, Any], dtype: Any, shape: Sequence[Expr]) -> Value:
        """One node with one result."""
        return self.builder.emit(op, inputs, attrs, [TensorType(dtype, tuple(shape))])[0]

    def emit_like(self, op: str, inputs: Sequence[Value]) -> list[Value]:
        """One elementwise node of bools, one for each example."""
        return self.builder.emit(op, inputs, {}, [TensorType(inputs[0].dtype, inputs[0].shape)])

    def like(self, node: Node, inputs: Sequence[Value], **attrs: Any) -> list[Value]:
        """The same node over batched operands, with some attributes changed."""
        types = [TensorType(v.dtype, (self.size, *v.shape)) for v in node.outputs]
        return self.builder.emit(node.op, inputs, {**node.attrs, **attrs}, types)

    def all_stretched(self, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
        """The operands, all with a batch dimension."""
        return [self.stretched(v, on, old.shape) for v, on, old in zip(inputs, flags, node.inputs)]

    def _node(self, node: Node) -> None:
        flags = [value in self.batched for value in node.inputs]
        if node.op not in PRIMITIVES:
            self.run(node.regions[0].nodes)
            for outer, inner in zip(node.outputs, node.regions[0].outputs):
                self.bind(outer, self.values.get(inner, inner), inner in self.batched)
            return
        if PRIMITIVES[node.op].kind == "random":
            self._random(node)
            return
        if node.op == "host_call" and node.attrs.get("examples") and self.mask is None:
            self._call(node, flags)
            return
        if node.op in ("host_call", "assign"):
            what = "a call into Python" if node.op == "host_call" else "a write to a tensor from outside"
            raise self.refusal(node, what)
        inputs = [self.values.get(value, value) for value in node.inputs]
        if node.op in ("cond", "while_loop"):
            self._check_draws(node)
            control(self, node, inputs)
            return
        if self.unlike and touches_unlike(self, node):
            made_flipped = flipped(self, node, inputs[0]) if flags and flags[0] else None
            if made_flipped is None:
                raise self.refusal(node, "what a loop keeps of its turns, where examples make unlike numbers of them,")
            self.bind(node.output, made_flipped, True)
            return
        if node.op in ("box", "unbox") and (any(flags) or self.mask is not None):
            raise self.refusal(node, "a tensor whose size changes from turn to turn of a loop")
        if self.mask is not None:
            inputs, flags = guarded(self, node, inputs, flags)
        if not any(flags):
            made = self.builder.emit(node.op, inputs, node.attrs, [v.type for v in node.outputs], node.regions)
            self.values.update(zip(node.outputs, made))
            return
        found = RULES.get("elementwise" if PRIMITIVES[node.op].kind == "elementwise" else node.op)
        if found is None:
            raise self.refusal(node, f"{node.op}, whose size depends on values,")
        for old, new in zip(node.outputs, found(self, node, inputs, flags)):
            self.bind(old, new, True)

    def _call(self, node: Node, flags: list[bool]) -> None:
        """A call into Python that takes many examples at once."""
        inputs = [self.values.get(value, value) for value in node.inputs]
        if not any(flags):
            made = self.builder.emit(node.op, inputs, node.attrs, [v.type for v in node.outputs])
            self.values.update(zip(node.outputs, made))
            return
        rank = max(len(value.shape) for value in node.inputs)
        for i, (value, old) in enumerate(zip(self.all_stretched(node, inputs, flags), node.inputs)):
            ones = (1,) * (rank - len(old.shape))
            inputs[i] = self.emit("reshape", [value], {}, value.dtype, (self.size, *ones, *old.shape)) if ones else value
        for old, new in zip(node.outputs, self.like(node, inputs)):
            self.bind(old, new, True)

    def refusal(
        self, node: Node, what: str, hint: str = "map over the examples with a Python loop and stack the results"
    ) -> Exception:
        """The error for something that has no batched form."""
        where = node.location
        location = True if where is None else Location(where.file, where.line, where.function)
        return CaptureError(f"vmap: {what} cannot be mapped over examples", hint=hint, location=location)

    def _check_draws(self, node: Node) -> None:
        """Random numbers in a branch or loop are drawn where it runs; its gradient would draw others."""
        if self.given is not None and any(has_effects(inner) for region in node.regions for inner in region.nodes):
            what = "the gradient of a branch or loop with random operators"
            raise self.refusal(node, what, "draw the numbers before it, or outside of vmap")

    def _random(self, node: Node) -> None:
        if self.given is not None and node.output in self.given:
            self.bind(node.output, self.given[node.output], False)
            return
        if self.randomness == "error":
            hint = 'vmap(f, randomness="different") draws for each example, "same" once for all'
            raise self.refusal(node, "a random operator", hint)
        inputs = [self.values.get(value, value) for value in node.inputs]
        different = self.randomness == "different"
        if node.op == "random_key":
            attrs = {**node.attrs, "count": node.attrs["count"] * self.size} if different else node.attrs
            (made,) = self.builder.emit(node.op, inputs, attrs, [node.output.type])
            self.bind(node.output, made, False)
            self.drawn[node.output] = made
            return
        if different:
            (made,) = self.like(node, inputs)
        else:
            (made,) = self.builder.emit(node.op, inputs, node.attrs, [node.output.type])
        self.bind(node.output, made, different)


def _shifted(dims: Iterable[int]) -> tuple[int, ...]:
    return tuple(d + 1 for d in dims)


@rule("elementwise", "gather", "scatter", "scatter_add", "scatter_reduce", "scan", "sort", "select", "search", "concat")
def _all_alike(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    """Every operand has the batch dimension; a dimension that is meant moves by one."""
    attrs = {"dim": node.attrs["dim"] + 1} if "dim" in node.attrs else {}
    return to.like(node, to.all_stretched(node, inputs, flags), **attrs)


@rule("broadcast")
def _broadcast(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    shape, wanted = node.inputs[0].shape, node.output.shape
    ones = (1,) * (len(wanted) - len(shape))
    lifted = to.emit("reshape", inputs, {}, node.output.dtype, (to.size, *ones, *shape)) if ones else inputs[0]
    return to.like(node, [lifted])


@rule("reshape")
def _reshape(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    return [to.emit("reshape", inputs, {}, node.output.dtype, (to.size, *node.output.shape))]


@rule("permute")
def _permute(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    return to.like(node, inputs, dims=(0, *_shifted(node.attrs["dims"])))


@rule("flip", "reduce")
def _along(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    return to.like(node, inputs, dims=_shifted(node.attrs["dims"]))


@rule("slice", "slice_update")
def _slice(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    operands = to.all_stretched(node, inputs, flags)
    return to.like(node, operands, starts=(0, *node.attrs["starts"]), steps=(1, *node.attrs["steps"]))


@rule("pad")
def _pad(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    if any(isinstance(size, int) and size == 0 for size in node.inputs[0].shape):  # nothing but padding
        return [to.builder.constant(0, node.output.dtype, (to.size, *node.output.shape))]
    return to.like(node, inputs, low=(0, *node.attrs["low"]), high=(0, *node.attrs["high"]))


@rule("affine")
def _affine(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    rank, width = len(node.inputs[0].shape), len(node.output.shape)
    flat = node.attrs["coefficients"]
    rows = [(0, *flat[d * width : (d + 1) * width]) for d in range(rank)]
    coefficients = (1, *(0,) * width, *(c for row in rows for c in row))
    return to.like(node, inputs, offsets=(0, *node.attrs["offsets"]), coefficients=coefficients)


@rule("contraction")
def _contraction(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    a, b, out = (node.attrs[key] for key in ("a", "b", "out"))
    letter = next(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in a + b + out)
    a, b = (letter + a if flags[0] else a), (letter + b if flags[1] else b)
    return to.like(node, inputs, a=a, b=b, out=letter + out)


@rule("window_sums", "window_taps")
def _windows(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    """Examples are groups: each has channels and kernels of its own."""

    def grouped(value: Value, dim: int) -> Value:
        order = (*range(1, dim), 0, *range(dim, len(value.shape)))
        value = to.emit("permute", [value], {"dims": order}, value.dtype, [value.shape[d] for d in order])
        shape = (*value.shape[: dim - 1], value.shape[dim - 1] * value.shape[dim], *value.shape[dim + 1 :])
        return to.emit("reshape", [value], {}, value.dtype, shape)

    stretched = to.all_stretched(node, inputs, flags)
    sums = node.op == "window_sums"
    operands = [grouped(stretched[0], 2), grouped(stretched[1], 1 if sums else 2)]
    shape = node.output.shape
    dim = 1 if sums else 0
    many = (*shape[:dim], to.size * shape[dim], *shape[dim + 1 :])
    made = to.emit(node.op, operands, node.attrs, node.output.dtype, many)
    apart = (*shape[:dim], to.size, *shape[dim:])
    made = to.emit("reshape", [made], {}, made.dtype, apart)
    order = (dim, *range(dim), *range(dim + 1, len(apart)))
    return [to.emit("permute", [made], {"dims": order}, made.dtype, [apart[d] for d in order])]


def _front(to: Batching, value: Value, dim: int) -> Value:
    """A dimension moved behind the first one."""
    order = (0, dim, *(d for d in range(1, len(value.shape)) if d != dim))
    return to.emit("permute", [value], {"dims": order}, value.dtype, [value.shape[d] for d in order])


def _back(to: Batching, value: Value, dim: int, count: int) -> Value:
    """The `count` dimensions behind the first one moved to where `dim` says."""
    rest = list(range(count + 1, len(value.shape)))
    order = (0, *rest[: dim - 1], *range(1, count + 1), *rest[dim - 1 :])
    return to.emit("permute", [value], {"dims": order}, value.dtype, [value.shape[d] for d in order])


def _everywhere(to: Batching, index: Value, rest: Sequence[Expr]) -> Value:
    """Indices [B, *I], as one row [B, |I|] repeated for all of `rest`."""
    count = product(index.shape[1:])
    flat = to.emit("reshape", [index], {}, index.dtype, (to.size, count, *(1 for _ in rest)))
    return to.emit("broadcast", [flat], {}, index.dtype, (to.size, count, *rest))


@rule("take", "row")
def _take(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    """Indices of each example's own become a gather, which checks them for each example."""
    dim = node.attrs.get("dim", 0) + 1
    if not flags[1]:
        return [to.emit("take", inputs, {"dim": dim}, node.output.dtype, (to.size, *node.output.shape))]
    x = _front(to, to.stretched(inputs[0], flags[0], node.inputs[0].shape), dim)
    index = _everywhere(to, inputs[1], x.shape[2:])
    found = to.emit("gather", [x, index], {"dim": 1}, x.dtype, index.shape)
    shape = (to.size, *node.inputs[1].shape, *x.shape[2:])
    found = to.emit("reshape", [found], {}, x.dtype, shape)
    return [_back(to, found, dim, len(node.inputs[1].shape))]


@rule("take_add", "take_put")
def _take_into(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    dim, count = node.attrs["dim"] + 1, len(node.inputs[1].shape)
    x, source = (to.stretched(inputs[i], flags[i], node.inputs[i].shape) for i in (0, 2))
    if not flags[1]:
        return to.like(node, [x, inputs[1], source], dim=dim)
    x = _front(to, x, dim)
    order = (0, *range(dim, dim + count), *range(1, dim), *range(dim + count, len(source.shape)))
    source = to.emit("permute", [source], {"dims": order}, source.dtype, [source.shape[d] for d in order])
    index = _everywhere(to, inputs[1], x.shape[2:])
    source = to.emit("reshape", [source], {}, source.dtype, index.shape)
    op = "scatter_add" if node.op == "take_add" else "scatter"
    return [_back(to, to.emit(op, [x, index, source], {"dim": 1}, x.dtype, x.shape), dim, 1)]


@rule("row_update")
def _row_update(to: Batching, node: Node, inputs: list[Value], flags: list[bool]) -> list[Value]:
    x, part = (to.stretched(inputs[i], flags[i], node.inputs[i].shape) for i in (0, 2))
    index = to.stretched(inputs[1], flags[1], ())
    index = to.emit("reshape", [index], {}, index.dtype, (to.size, 1))
    where = _everywhere(to, index, x.shape[2:])
    part = to.emit("reshape", [part], {}, part.dtype, where.shape)
    return [to.emit("scatter", [x, where, part], {"dim": 1}, x.dtype, x.shape)]
