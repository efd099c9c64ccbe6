"""Sizes of arguments as symbols: which ones, what a capture learns about them, and how runs compute them.

A size that was seen with two values is a symbol from then on. Python and operators go on with the sizes of the call at
hand; every relation that decided something is a guard of the capture, so a call for which it is another way captures
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import CaptureError, Error, refusals
from duograph.ir import dim as dims
from duograph.ir.builder import Builder, active, current
from duograph.ir.dim import Dim, Expr, UndecidedSize, symbol
from duograph.ir.substitution import evaluate, substitute, symbols
from duograph.ir.types import TensorType

from ..memory.cells import Cell, Storage
from .late import late
from .numbers import Postfix, SizeNumber, provable

if TYPE_CHECKING:
    from duograph.ir.graph import Graph, Value

    from ..outside.recorder import Recorder

_LONGEST = 60  # tokens of a guard
_GREATEST = 2**62
_NAMES = {"<": "lt", "<=": "le", "!=": "ne"}


class Unsettled(Error):
    """A symbol stands where this call needs its number: the capture is made again with the number."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        refusals.note(self)


class CallSizes:
    """The symbols of one capture, with their values in the call that is captured."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.strict = False  # bits matter, also those of an empty or single sum
        self.tokens: dict[Dim, tuple[Any, ...]] = {}
        self.values: dict[str, int] = {}
        self.numbers: list[int | float] = []  # the operands that are numbers, in the call that is captured
        self.pinned: dict[Dim, None] = {}  # symbols that must be numbers
        self.settled: set[tuple[Expr, str, Expr]] = set()
        self.asked = 0  # how often an order of sizes was decided by the call at hand

    def argument(self, row: tuple[str, float, float], value: int, token: tuple[Any, ...]) -> Dim:
        """The symbol that a size of an argument (or a number) is; a second one of this name is guarded to be the first."""
        name, low, high = row
        made = symbol(name, low, high)
        if made in self.tokens:
            self.recorder.guard_outcome((self.tokens[made], token, ("eq",)), True)
            return made
        self.tokens[made] = token
        self.values[name] = value
        if low != -dims.INFINITY and (low or token[0] not in ("size", "size of")):
            self.recorder.guard_outcome((token, ("const", low), ("ge",)), True)
        if high != dims.INFINITY:
            self.recorder.guard_outcome((token, ("const", high), ("le",)), True)
        return made

    def __bool__(self) -> bool:
        return bool(self.tokens)

    def knows(self, *values: Expr) -> bool:
        """Whether every symbol is one of this capture's arguments."""
        return all(found in self.tokens for value in values for found in symbols(value))

    def value(self, expr: Expr) -> int:
        """The number in the call at hand."""
        return evaluate(expr, self.values)

    def postfix(self, expr: Expr) -> Postfix:
        """How runs compute an expression."""
        return tuple(_postfix(expr, self.tokens))

    def number(self, expr: Expr) -> Any:
        """The expression as a number of user code."""
        if isinstance(expr, int):
            return expr
        value = self.value(expr)
        if any(len(monomial) > 2 for monomial, _ in expr.terms) and not self._fits(expr, value):
            return value
        return SizeNumber(self.recorder, expr, value)

    def _fits(self, expr: Expr, value: int) -> bool:
        """Whether a number that may grow beyond 64 bits does not here; the capture is for calls in which it is so."""
        if abs(value) < _GREATEST:
            self.recorder.guard_outcome((*self.postfix(expr), ("const", _GREATEST), ("lt",)), True)
            return True
        for found in symbols(expr):
            self.decide(found, "eq", self.value(found))
        return False

    # ---- what is decided

    def decide(self, left: Expr, relation: str, right: Expr) -> bool:
        """Whether the relation holds in this call; the capture is for calls in which the answer is the same."""
        numbers = self.value(left), self.value(right)
        outcome = {"eq": numbers[0] == numbers[1], "ne": numbers[0] != numbers[1], "lt": numbers[0] < numbers[1],
                   "le": numbers[0] <= numbers[1]}[relation]  # fmt: skip
        if provable(left, relation, right) is not None:
            return outcome
        self.asked += relation in ("lt", "le")
        if (left, relation, right) in self.settled:
            return outcome
        self.settled.add((left, relation, right))
        if outcome is (relation == "eq") and relation in ("eq", "ne"):
            alone = symbols(left - right)
            if len(alone) == 1 and _is_linear(left - right):
                self.pinned.setdefault(alone[0])
        if not self.recorder.closed:
            postfix = (*self.postfix(left), *self.postfix(right), (relation,))
            if len(postfix) > _LONGEST:
                self.pin_symbols(left, right)
            else:
                self.recorder.guard_outcome(postfix, outcome)
        return outcome

    def pin_symbols(self, *values: Expr) -> None:
        for value in values:
            for found in symbols(value):
                self.pinned.setdefault(found)

    def pin(self, expr: Expr) -> int:
        """The number that an expression is; the capture holds while it is that."""
        value = self.value(expr)
        self.decide(expr, "eq", value)
        return value

    def differ(self, left: Expr, right: Expr) -> Unsettled:
        """Two sizes should be equal and are not: numbers will tell whether one is repeated or this is a mistake."""
        ones = [side for side in (left, right) if isinstance(side, Dim) and side.is_symbol and self.value(side) == 1]
        self.pin_symbols(*(ones or (left, right)))
        return Unsettled(f"sizes {self.value(left)} and {self.value(right)} differ")

    def must_be_equal(self, first: Sequence[Expr], second: Sequence[Expr]) -> None:
        """Two shapes that must be one: where symbols do not tell whether they are, numbers will."""
        if len(first) == len(second):
            for left, right in zip(first, second):
                if left != right and not (isinstance(left, int) and isinstance(right, int)) and self.knows(left, right):
                    raise self.differ(left, right)

    # ---- graphs

    def operands(self, graph: Graph) -> list[Dim]:
        """The symbols that a graph cannot read off its inputs."""
        bound = {size for value in graph.inputs for size in value.shape if isinstance(size, Dim)}
        bound |= {step for argument in graph.arguments for step in argument.strides or () if isinstance(step, Dim)}
        return [made for made in self.tokens if made not in bound]

    def complete(self, graph: Graph) -> tuple[Graph, list[list[Any]]]:
        """The graph with integer operands for the symbols it needs, and the recipes of those."""
        wanted = self.operands(graph)
        if not wanted:
            return graph, []
        return graph.replace(sizes=(*graph.sizes, *wanted)), [list(self.postfix(made)) for made in wanted]

    def complete_alike(self, graphs: Sequence[Graph]) -> tuple[list[Graph], list[list[Any]]]:
        """The same for graphs that take the same operands: what one of them needs, all have."""
        wanted = tuple(dict.fromkeys(size for graph in graphs for size in self.operands(graph)))
        return [graph.replace(sizes=(*graph.sizes, *wanted)) for graph in graphs], [list(self.postfix(made)) for made in wanted]


class SizedBuilder(Builder):
    """A builder for which relations between sizes of arguments are guards, not checks of the program."""

    call_sizes: CallSizes

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.late_operands: dict[Expr, Value] = {}  # sizes that values decide, as operands outside of regions

    def number(self, number: Any) -> Value:
        if not issubclass(type(number), SizeNumber):
            return super().number(number)
        late = isinstance(number.expr, Dim) and not self.call_sizes.knows(number.expr)
        known = self.late_operands.get(number.expr) if late else None
        if known is not None:
            return known
        made = self.emit("size", [], {"value": number.expr}, [TensorType(core.int64, (), weak=True)])[0]
        if late and len(self._nodes) == 1:  # a gradient's program, which cannot know it, is given the value
            self.late_operands[number.expr] = made
        return made

    def emit(
        self,
        op: str,
        inputs: Sequence[Value],
        attrs: dict[str, Any],
        types: Sequence[TensorType],
        regions: tuple[Graph, ...] = (),
    ) -> list[Value]:
        if self.call_sizes.strict and self.call_sizes and op in ("reduce", "contraction"):
            for size in _summed(op, inputs, attrs):
                self.is_one(size)  # a sum of one element is that element: -0.0 stays -0.0
        return super().emit(op, inputs, attrs, types, regions)

    def check(self, relation: str, left: Expr, right: Expr, code: int = 0) -> None:
        sizes = self.call_sizes
        if not sizes or not sizes.knows(left, right):
            super().check(relation, left, right, code)
        elif not sizes.decide(left, relation, right):
            sizes.pin_symbols(left, right)
            raise Unsettled(f"not {sizes.value(left)} {relation} {sizes.value(right)}")

    def unify(self, left: Expr, right: Expr, code: int = 0) -> Expr:
        sizes = self.call_sizes
        if sizes and sizes.knows(left, right):
            left, right = substitute(left, self.equal), substitute(right, self.equal)
            if left != right and not sizes.decide(left, "eq", right):
                raise sizes.differ(left, right)
        return super().unify(left, right, code)

    def same_shape(self, first: Sequence[Expr], second: Sequence[Expr]) -> bool:
        """Whether two shapes are one in this call, so that the capture is for calls in which they are."""
        if len(first) != len(second):
            return False
        for left, right in zip(first, second):
            left, right = substitute(left, self.equal), substitute(right, self.equal)
            if left == right:
                continue
            sizes = self.call_sizes
            if not sizes or not sizes.knows(left, right) or sizes.value(left) != sizes.value(right):
                return False
            self.unify(left, right)
        return True

    def is_one(self, size: Expr) -> bool:
        if isinstance(size, Dim) and self.call_sizes and self.call_sizes.knows(size):
            return self.call_sizes.decide(size, "eq", 1)
        return super().is_one(size)


def _summed(op: str, inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Expr]:
    """The sizes over which a node sums."""
    if op == "reduce":
        return [inputs[0].shape[d] for d in attrs["dims"]]
    pairs = zip(attrs["a"] + attrs["b"], inputs[0].shape + inputs[1].shape)
    return [size for letter, size in pairs if letter not in attrs["out"]]


def _is_linear(value: Expr) -> bool:
    return not isinstance(value, int) and all(len(m) <= 1 and all(a.kind == "symbol" for a in m) for m, _ in value.terms)


def _postfix(value: Expr, tokens: dict[Dim, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    if isinstance(value, int):
        return [("const", value)]
    code: list[tuple[Any, ...]] = []
    for number, (monomial, coefficient) in enumerate(value.terms):
        negative = coefficient < 0 and number > 0 and bool(monomial)
        factor = -coefficient if negative else coefficient
        factors: list[list[tuple[Any, ...]]] = [] if factor == 1 and monomial else [[("const", factor)]]
        for atom in monomial:
            if atom.kind == "symbol":
                factors.append([tokens[atom.dim]])
                continue
            left, right = (_postfix(arg, tokens) for arg in atom.args)
            if atom.kind == "ceildiv":  # -(-a // b)
                factors.append([*left, ("neg",), *right, ("floordiv",), ("neg",)])
            else:
                factors.append([*left, *right, (atom.kind,)])
        for place, part in enumerate(factors):
            code += part
            if place:
                code.append(("mul",))
        if number:
            code.append(("sub",) if negative else ("add",))
    return code


# ---- questions about symbols that anybody asks during a capture


def _of_capture(*values: Expr) -> CallSizes | None:
    """The sizes of this thread's capture, if it is the one that writes the graph and the symbols are its own."""
    recorder = state.recorder
    if recorder is None or not active():
        return None
    sizes = recorder.sizes
    return sizes if sizes and getattr(current(), "call_sizes", None) is sizes and sizes.knows(*values) else None


def _undecided(left: Expr, relation: str, right: Expr) -> bool:
    sizes = _of_capture(left, right)
    if sizes is None:
        _refuse_late(f"whether {left} {relation} {right} is decided", left, right)
        raise UndecidedSize(f"whether {left} {relation} {right} depends on a size that is symbolic here")
    return sizes.decide(left, _NAMES[relation], right)


def _concrete(value: Dim) -> int:
    sizes = _of_capture(value)
    if sizes is None:
        _refuse_late(f"the size {value} is needed as a number", value)
        raise UndecidedSize(f"the size {value} is symbolic here: it has no value before the program runs")
    return sizes.pin(value)


def _refuse_late(what: str, *values: Expr) -> None:
    """A size that values decide is not known while a graph is captured: Python cannot be steered by it."""
    if state.recorder is None or not active():
        return
    if current().is_late(values):
        raise CaptureError(
            f"static: {what} here, but it depends on values: only the run knows it",
            hint="use a count, which is a tensor: mask.sum() > 3 makes `if` a branch of the graph",
        )


def _seen_shape(shape: tuple[Expr, ...]) -> Any:
    """A traced tensor's shape as user code sees it."""
    recorder = state.recorder
    if recorder is None or not active() or getattr(current(), "call_sizes", None) is not recorder.sizes:
        return shape
    sizes, unknown = recorder.sizes, current().late_symbols
    if not all(made in sizes.tokens or made in unknown for size in shape for made in symbols(size)):
        return shape
    return size_tuple(sizes.number(size) if sizes.knows(size) else late(recorder, size) for size in shape)


def size_tuple(sizes: Any) -> Any:
    from duograph.tensors.size import Size

    return Size(sizes)


def install() -> None:
    """Makes this module answer for the symbols of captures."""
    dims.set_undecided(_undecided)
    dims.set_concrete(_concrete)
    core.set_size_number(SizeNumber, _seen_shape)


def known_sizes(shape: Sequence[Expr]) -> tuple[int | None, ...]:
    """A shape as the core compares it: None for what runs decide."""
    return tuple(size if isinstance(size, int) else None for size in shape)


def stand_in(builder: Any, tensor: Any, shape: tuple[Expr, ...], strides: tuple[Expr, ...] | None) -> Any:
    """A traced tensor with symbols for sizes, which the captured function gets in the place of an argument."""
    value = builder.input(TensorType(tensor.dtype, shape), strides=strides, origin="state")
    builder.handles.add(value)
    storage = builder.storages[-1 - len(builder.storages)] = Storage()
    storage.views[0, (), ()] = builder.views[value] = Cell(value, value).root
    plain = type(tensor) is core.Tensor
    made = core.traced(value, tensor.dtype, tensor.ndim, shape, tensor.requires_grad and plain)
    if not plain:
        made = core.as_subclass(made, type(tensor)).requires_grad_(tensor.requires_grad)
    core.mark_stand_in(made, strides is not None)
    if strides is not None:
        builder.views[value].strides = strides
        if 0 in tensor.stride():
            builder.repeated.add(id(builder.views[value]))
    builder.tensor_inputs.append((value, made))
    builder.input_tensors[id(made)] = value
    return made
