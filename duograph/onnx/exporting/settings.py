"""Python numbers that a program computes with: arguments, settings of a training step, and those that it counts up itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from duograph import _core as core
from duograph.errors import GraphError

from .capturing import Program
from .names import numpy_type
from .results import Output
from .writer import Writer, refused

_STORES = ("setattr", "setitem")
_OPERATIONS = {"add": "Add", "sub": "Sub", "mul": "Mul", "truediv": "Div", "div": "Div"}
_FUNCTIONS = {"neg": "Neg", "sqrt": "Sqrt"}


class Number(NamedTuple):
    """A number that stays open in the file: an input without dimensions, with what it was as its initialiser."""

    name: str
    dtype: Any
    value: Any


class Settings:
    """The numbers of one program.

    Arguments stay open; in a training step everything that it reads by a name does, and what it writes back counts on from
    call to call. Every other number is what it was.
    """

    def __init__(self, w: Writer, program: Program) -> None:
        self.writer = w
        self.program = program
        self.description = program.captured.description
        self.reads: Sequence[Any] = self.description["reads"]
        self.stored = [effect for effect in self.description["effects"] if effect[0] in _STORES]
        numbers: Sequence[Any] = self.description["numbers"]
        self.steps = any(value in program.written for value, _, _ in program.state) or any(map(self._changed, numbers))
        self.found: dict[int, Number] = {}  # by the number of the read
        self._check_drawn()
        for (value, number), postfix in zip(program.numbers, numbers):
            name = self.value(postfix, value.dtype)
            if name is not None:
                w.set(value, name)
            elif changed := self._changed(postfix):
                raise _unlike(changed)
            else:
                w.constants[value] = np.asarray(number)

    @property
    def open(self) -> list[Number]:
        """The numbers that are inputs."""
        return list(self.found.values())

    @property
    def arguments(self) -> dict[int, Number]:
        """Those of them that are arguments, by their place among the call's numbers."""
        return {self.reads[read][2]: number for read, number in self.found.items() if self.reads[read][0] == "number"}

    def scalar(self, writer: Writer, postfix: Sequence[Any]) -> str | None:
        """What a recipe over sizes or over numbers gives, for a graph inside, too; None for what a file cannot compute."""
        size = self.program.size(postfix)
        if size is None:
            return self.value(postfix)
        return writer.array(np.asarray(size)) if isinstance(size, int) else writer.reshape(writer.size(size), ())

    def value(self, postfix: Sequence[Any], dtype: Any = None) -> str | None:
        """What a recipe gives, computed in the file, of this dtype or its own; None where a part of it is not open."""
        if not all(self._is_known(token) for token in postfix) or not any(token[0] == "read" for token in postfix):
            return None
        stack: list[tuple[str, Any]] = []
        for token in postfix:
            if token[0] == "read":
                stack.append(self._input(token))
            elif token[0] == "const":
                kind = core.float64 if isinstance(token[1], float) else core.int64
                stack.append((self.writer.number(token[1], kind), kind))
            else:
                count = 1 if token[0] in _FUNCTIONS else 2
                operands, stack = stack[-count:], stack[:-count]
                stack.append(self._computed(token[0], operands))
        name, kind = stack.pop()
        return name if dtype in (None, kind) else self.writer.cast(name, dtype)

    def _computed(self, operation: str, operands: Sequence[tuple[str, Any]]) -> tuple[str, Any]:
        whole = operation in ("neg", "add", "sub", "mul") and all(kind is core.int64 for _, kind in operands)
        kind = core.int64 if whole else core.float64
        names = [name if own is kind else self.writer.cast(name, kind) for name, own in operands]
        return self.writer.emit((_FUNCTIONS | _OPERATIONS)[operation], names), kind

    def _is_known(self, token: Any) -> bool:
        if token[0] == "read":
            return self._name(token) is not None
        return token[0] == "const" or token[0] in _OPERATIONS or token[0] in _FUNCTIONS

    def _name(self, token: Any) -> str | None:
        kind, _, key = self.reads[token[1]]
        if kind == "number":
            return self.program.numbers_given.get(key, (f"number_{key}", 0))[0]
        if kind not in ("item", "attr") or not isinstance(key, str):
            return None
        return key if self.steps else None

    def _input(self, token: Any) -> tuple[str, Any]:
        found = self.found.get(token[1])
        if found is None:
            kind, target, key = self.reads[token[1]]
            dtype = core.float64 if token[2] else core.int64
            actual = self.program.numbers_given[key][1] if kind == "number" else _held(kind, target, key)
            name = self.writer.model.fresh(self._name(token))  # type: ignore[arg-type]
            found = self.found[token[1]] = Number(name, dtype, np.asarray(actual, numpy_type(dtype)))
        return found.name, found.dtype

    # ---- numbers that change

    def counted(self) -> Iterator[tuple[str, Output]]:
        """The numbers that the program changes, with what they are afterwards. GraphError where a file cannot compute that."""
        for number, one in self.found.items():
            _, target, key = self.reads[number]
            effect = self._effect(target, key)
            if effect is None:
                continue
            row = effect[3]
            made = self.value(row[1], one.dtype) if row[0] == "number" else None
            if made is None:
                raise _unlike(key)
            yield one.name, Output(made, one.dtype, (), f"{one.name}.next")

    def _changed(self, postfix: Sequence[Any]) -> str | None:
        """The name of a number in a recipe that the program changes."""
        reads = [self.reads[token[1]] for token in postfix if token[0] == "read"]
        return next((key for _, target, key in reads if self._effect(target, key) is not None), None)

    def _effect(self, target: Any, key: Any) -> Any:
        """The write to what a number is read from."""
        stored = (x for x in self.stored if x[2] == key)
        return next((x for x in stored if target is x[1] or target is getattr(x[1], "__dict__", None)), None)

    def _check_drawn(self) -> None:
        """A number that Python draws at each call has no place in a file: GraphError, with the line."""
        inputs = self.program.graph.inputs[len(self.program.captured.input_tensors) :]
        for value, postfix in zip(inputs, self.description["numbers"]):
            reads = [self.reads[token[1]] for token in postfix if token[0] == "read"]
            drawn = next((target for kind, target, _ in reads if kind == "host"), None)
            if drawn is not None:
                node = next(node for node in self.program.graph.nodes if value in node.inputs)
                called = getattr(drawn.function, "__name__", "a generator")
                hint = "draw it outside, and give it as an argument; or use duograph.rand, randn or randint"
                raise refused(node, f"this line calls Python ({called}), which a file cannot", hint)


def _unlike(name: str) -> GraphError:
    return GraphError(
        f"onnx: {name} is a Python number that the function computes with and changes in a way that a file cannot",
        hint="make it a tensor, so that it is a part of the state",
    )


def _held(kind: str, target: Any, key: Any) -> Any:
    return target[key] if kind == "item" else getattr(target, key)
