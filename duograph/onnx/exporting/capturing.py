"""The program that is saved: a capture of its own, not compiled, with sizes as symbols where they are to stay open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from duograph import _core as core
from duograph.autograd.modes import no_grad
from duograph.capture.session import Captured
from duograph.capture.static import Handler
from duograph.capture.values.size_history import Plan, argument_leaves
from duograph.capture.values.tree import argument_names, is_namedtuple
from duograph.errors import ArgumentError, CaptureError, GradError
from duograph.ir.dim import Dim, Expr, ceildiv, floordiv, maximum, minimum, mod
from duograph.ir.graph import Value
from duograph.ir.substitution import substitute, symbols
from duograph.ir.types import TensorType
from duograph.nn.scopes import module_scopes

from .open_sizes import Names, added

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "floordiv": floordiv, "mod": mod,
    "ceildiv": ceildiv, "min": minimum, "max": maximum,
}  # fmt: skip

_RELATIONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


class _Recorded(Handler):
    """A capture that stays a graph."""

    differentiable = False

    wanted: Names = {}

    def plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
        return added(super().plan(args, kwargs), self.wanted)

    def compile(self, captured: Captured, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        return captured, []


class Program:
    """A captured program, and what its inputs and results are called.

    arguments   inputs that come with each call, by name
    state       tensors found outside, by name
    numbers     operands that are Python numbers, with what they were; `numbers_given`: those of the arguments
    slots       the arguments' tensors in order
    written     inputs that hold something else afterwards
    keywords    the names by which arguments were given, in order
    fixed       symbols that are numbers in the file, or follow from others; `varied`: the arguments' that are no numbers
    """

    def __init__(
        self,
        captured: Captured,
        leaves: Sequence[tuple[str, str, Any]],
        given: Sequence[tuple[str, Any]],
        names: Mapping[int, str],
    ) -> None:
        self.captured = captured
        self.graph = captured.graph
        description = captured.description
        self.slots: dict[int, Value] = {}
        self.keywords: tuple[str, ...] = ()
        self.state: list[tuple[Value, str, Any]] = []
        self.written: set[Value] = {self.graph.inputs[i] for i in description["writes"]}
        tensors = len(captured.input_tensors)
        for number, value in enumerate(self.graph.inputs[:tensors]):
            if self.graph.arguments[number].origin == "argument":
                self.slots[self.slot_of(description["inputs"][number])] = value
            else:
                tensor = captured.input_tensors[number]
                self.state.append((value, names.get(id(tensor)) or value.name or f"state_{number}", tensor))
        for slot, (name, _, tensor) in enumerate(leaves):  # those that nothing reads, too
            self.slots.setdefault(slot, Value(TensorType(tensor.dtype, tuple(tensor.shape)), None, 0, name))
        self.arguments = [(self.slots[slot], name or f"input_{slot}") for slot, (name, _, _) in enumerate(leaves)]
        self.numbers = list(zip(self.graph.inputs[tensors:], captured.numbers))
        self.numbers_given = dict(enumerate(given))
        self.fixed: dict[Dim, Expr] = dict(self.graph.equal)
        for value, _, tensor in self.state:
            for size, actual in zip(value.shape, tensor.shape):
                if isinstance(size, Dim) and size.is_symbol:
                    self.fixed.setdefault(size, int(actual))
        open_sizes = {s for value, _ in self.arguments for size in value.shape for s in symbols(size)}
        self.varied = {str(size) for size in open_sizes if not isinstance(substitute(size, self.fixed), int)}
        for name, actual in captured.sizes.items():
            for symbol in self.graph.sizes:
                if str(symbol) == name and symbol not in open_sizes:
                    self.fixed.setdefault(symbol, actual)

    def slot_of(self, row: Any) -> int:
        """Which of the arguments' tensors a row of the description reads; -1: none of them."""
        reads = self.captured.description["reads"]
        return int(reads[row[1]][2]) if row[0] == "read" and reads[row[1]][0] == "arg" else -1

    def facts(self) -> list[str]:
        """What the capture relies on of open sizes, as text."""
        found = []
        for guard in self.captured.description["guards"]:
            if guard[0] != "expr" or guard[1][-1][0] not in _RELATIONS:
                continue
            sides = self._stack(guard[1][:-1])
            if sides is not None and len(sides) == 2 and any(isinstance(side, Dim) for side in sides):
                word = _RELATIONS[guard[1][-1][0]]
                found.append(f"{'' if guard[2] else 'not '}{sides[0]} {word} {sides[1]}")
        return list(dict.fromkeys(found))

    def size(self, postfix: Sequence[Any]) -> Expr | None:
        """The expression of a recipe over sizes of arguments; None for one over other numbers."""
        stack = self._stack(postfix)
        return stack[0] if stack is not None and isinstance(stack[0], (int, Dim)) else None

    def _stack(self, postfix: Sequence[Any]) -> list[Any] | None:
        """What a recipe over sizes of arguments leaves; None for one over other numbers."""
        stack: list[Any] = []
        for token in postfix:
            if token[0] == "const":
                stack.append(token[1])
            elif token[0] == "size":
                stack.append(self.slots[token[1]].shape[token[2]])
            elif token[0] in _ARITHMETIC and len(stack) > 1:
                right = stack.pop()
                stack.append(_ARITHMETIC[token[0]](stack.pop(), right))
            else:
                return None
        return stack


def target_of(model: Any) -> tuple[Callable[..., Any], Mapping[str, Any] | None, bool]:
    """What a Module, a function or a static function runs; the sizes that were declared; whether it takes one way only."""
    if isinstance(model, core.StaticFunction):
        handler: Any = model.handler
        return handler.target, handler.options[1], handler.single_path
    forward = getattr(model, "__dict__", {}).get("forward", getattr(type(model), "forward", None))
    if isinstance(forward, core.StaticFunction):
        handler = forward.handler
        return model, handler.options[1], handler.single_path
    if not callable(model) or isinstance(model, type):
        hint = "give an instance of the class" if isinstance(model, type) else None
        raise ArgumentError(f"onnx: expected a Module or a function, got {model!r}", hint=hint)
    return model, None, False


def captured_program(
    model: Any, args: Sequence[Any], kwargs: Mapping[str, Any], sizes: Mapping[str, Any] | None, wanted: Names
) -> Program:
    """The program that this call runs."""
    target, declared, single_path = target_of(model)
    handler = _Recorded(target, False, declared if sizes is None else sizes)
    handler.single_path = single_path
    handler.wanted = wanted
    given, named = apart(args, kwargs)
    with module_scopes():
        try:
            with no_grad():  # without what only a gradient needs
                captured, _ = handler.capture(given, named)
        except (CaptureError, GradError):
            captured, _ = handler.capture(given, named)
    names = [*argument_names(target, len(given)), *named]
    tensors, numbers = argument_leaves([*given, *named.values()], names)
    program = Program(captured, tensors, numbers, getattr(target, "__state_names__", {}))
    program.keywords = tuple(named)
    return program


def apart(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Examples in row-major order, as files know no strides, each a tensor of its own: one given twice is two inputs."""
    seen: set[int] = set()

    def own(value: Any) -> Any:
        if isinstance(value, core.Tensor):
            if id(value) in seen:
                return value.detach().clone().contiguous().requires_grad_(value.requires_grad)
            seen.add(id(value))
            return value if value.is_contiguous() else value.detach().contiguous().requires_grad_(value.requires_grad)
        if type(value) in (list, tuple):
            return type(value)([own(x) for x in value])
        if is_namedtuple(value):
            return type(value)(*[own(x) for x in value])
        return {key: own(x) for key, x in value.items()} if type(value) is dict else value

    return own(tuple(args)), own(dict(kwargs))
