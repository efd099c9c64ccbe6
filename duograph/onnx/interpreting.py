"""Running a model's nodes one after the other, on tensors: traced ones where a capture follows, real ones in dynamic mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph import _core as core
from duograph._recorded import current
from duograph._stack import caller_at
from duograph.errors import Error
from duograph.ir.builder import scoped
from duograph.tensors.creation import tensor as make_tensor

from .errors import ModelError
from .messages import messages
from .operators import host
from .operators.definition import BOUNDS, NUMBER, NUMBERS, OPERAND, TENSOR
from .operators.effects import fail
from .operators.known import Known, of_array, settled
from .operators.narrow import Narrow, is_narrow
from .reading import Data, number_of
from .structure import Body, Node

_WRONG = (TypeError, ValueError, IndexError, KeyError, ZeroDivisionError, OverflowError, AttributeError, NotImplementedError)


class Frame:
    """The values of one graph while it runs.

    outer       the frame of the graph around it
    attributes  of the function that is running: its nodes may refer to them
    """

    __slots__ = ("attributes", "body", "file", "outer", "values")

    def __init__(self, body: Body, file: str, outer: Frame | None = None, attributes: dict[str, Any] | None = None) -> None:
        self.body = body
        self.file = file
        self.outer = outer
        self.attributes = attributes
        self.values: dict[str, Any] = {}

    def value(self, name: str) -> Any:
        """The value of that name, here or around."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.values:
                return frame.values[name]
            frame = frame.outer
        raise ModelError(f"onnx: the value {name!r} is not there")

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """The values of the body's outputs for values of its inputs."""
        body = self.body
        for name, data in body.initialisers.items():
            if name not in self.values:
                self.values[name] = constant(data)
        self.values.update(zip(body.inputs, inputs))
        for node in body.nodes:
            self.evaluate(node)
        return [self.value(name) if name else None for name in body.outputs]

    def evaluate(self, node: Node) -> None:
        """Compute a node's outputs."""
        values = [self.value(name) if name else None for name in node.inputs]
        try:
            results = self.known(node, values) if node.host is not None else NotImplemented
            if results is NotImplemented:
                results = self.call(node, values)
        except Error as error:
            _note(error, node)
            raise
        except _WRONG as error:
            if _is_of_program(error):
                raise
            found = ModelError(f"onnx: {node}: {type(error).__name__}: {error}", _described(values))
            found.node = node  # type: ignore[attr-defined]
            raise found from error
        for name, value in zip(node.outputs, results):
            if name:
                self.values[name] = value

    def known(self, node: Node, values: Sequence[Any]) -> Any:
        """What the node makes of numbers that are known; NotImplemented where tensors are among its inputs."""
        for value in values:
            if value is not None and value.__class__ is not Known:
                return NotImplemented
        found = host.computed(node.op, values, self.arguments(node), node.opset)
        return found if isinstance(found, list) or found is NotImplemented else (found,)

    def call(self, node: Node, values: Sequence[Any]) -> Any:
        """The node's outputs, of its function."""
        row = node.row
        if row is None:
            return self.called(node, values)
        tensors = any(isinstance(value, core.Tensor) for value in values)
        inputs = [None if value is None else converted(value, row.kind(i), tensors) for i, value in enumerate(values)]
        while inputs and inputs[-1] is None and len(inputs) > row.required:
            inputs.pop()
        arguments = self.arguments(node)
        for name, value in arguments.items():
            if value.__class__ is Data:
                arguments[name] = value.array if value.dtype is not core.bfloat16 else value.tensor()
            elif value.__class__ is Body:
                arguments[name] = Inner(self, value)
        if row.given:
            given = {"outputs": len(node.outputs), "opset": node.opset, "dtypes": node.dtypes}
            arguments = {**{name: given[name] for name in row.given}, **arguments}
        if node.call is None:
            node.call = caller_at(self.file, node.number, node.name or node.op)
        with scoped(node.name or node.outputs[0]):
            made = node.call(row.function, inputs, arguments)
        return made if made.__class__ is tuple else (made,)

    def called(self, node: Node, values: Sequence[Any]) -> Any:
        """The outputs of a function of the model's."""
        body = node.function
        if node.recalled is not None:
            if node.call is None:
                node.call = caller_at(self.file, node.number, node.name or node.op)
            with scoped(node.name or node.outputs[0]):
                made: tuple[Any, ...] = node.call(node.recalled, ([as_tensor(value) for value in values],), {})
            return made
        if body is None:
            assert node.context is not None
            body = node.context.body(node, tuple([_type_of(value) for value in values]))
        frame = Frame(body, self.file, None, {**body.defaults, **self.arguments(node)})
        missing = len(body.inputs) - len(values)
        return frame.run([*values, *[None] * missing])

    def arguments(self, node: Node) -> dict[str, Any]:
        """The node's attributes; those of the function around in the place of references."""
        found = dict(node.attributes)
        for name, reference in node.references.items():
            if self.attributes is None or reference not in self.attributes:
                continue
            found[name] = self.attributes[reference]
        return found


class Inner:
    """A graph that is an attribute of a node, as a function of its inputs."""

    def __init__(self, frame: Frame, body: Body) -> None:
        self.frame = frame
        self.body = body

    @property
    def inputs(self) -> int:
        return len(self.body.inputs)

    def __call__(self, *inputs: Any) -> list[Any]:
        """Its outputs, as tensors (or sequences of them)."""
        return [as_tensor(value) for value in self.follow(*inputs)]

    def keeps_going(self) -> bool:
        """Whether a loop's body hands its condition on as it is, or as a constant that holds."""
        name, made = self.body.outputs[0], {out: node for node in self.body.nodes for out in node.outputs}
        while name in made and made[name].op == "Identity":
            name = made[name].inputs[0]
        if name in made:
            value = made[name].attributes.get("value")
            return made[name].op == "Constant" and value.__class__ is Data and bool(value.array.reshape(-1)[0])
        return name == self.body.inputs[1] or (name in self.body.initialisers and bool(self.body.initialisers[name].array.all()))

    def follow(self, *inputs: Any) -> list[Any]:
        """Its outputs; known numbers stay known."""
        return Frame(self.body, self.frame.file, self.frame, self.frame.attributes).run(inputs)


def constant(data: Data) -> Any:
    """The value of a constant."""
    if is_narrow(data.narrow):
        return Narrow(data.tensor(), data.narrow)
    if data.dtype is not core.bfloat16:
        known = of_array(data.array)
        if known is not None:
            return known
    return data.tensor()


def as_tensor(value: Any) -> Any:
    """A value as a tensor, where it is numbers."""
    if value.__class__ is Known:
        return value.tensor()
    if value.__class__ is Narrow:
        return value.tensor
    if value.__class__ in (int, float, bool):
        return make_tensor(value)
    return value


def converted(value: Any, kind: int | None, plain: bool) -> Any:
    """A value as a function of an operator wants it.

    Args:
        plain: constants may be Python's numbers: there is a tensor whose dtype they take.
    """
    if value.__class__ is Narrow:
        return value.tensor if kind in (TENSOR, OPERAND) else value
    known = value.__class__ is Known
    if kind == TENSOR:
        return value.tensor() if known else value
    if kind == OPERAND:
        if not known:
            return value
        scalar = value.array.ndim == 0 and value.array.dtype != object
        return value.number() if plain and scalar else value.tensor()
    if kind == BOUNDS and not known and current() is not None:
        return [value.reshape(-1)[i] for i in range(settled(value.numel()))]
    if kind in (NUMBERS, BOUNDS):
        return value.numbers() if known else _listed(value)
    if kind == NUMBER:
        return value.number() if known else value.reshape(()).item()
    return value.array if known else value


def _type_of(value: Any) -> bytes:
    """ONNX's type of a value, serialised; sizes that are not known stay open."""
    made = messages().TypeProto()
    value = as_tensor(value)
    if isinstance(value, core.Tensor):
        made.tensor_type.elem_type = number_of(value.dtype)
        made.tensor_type.shape.SetInParent()
        for size in value.shape:
            dimension = made.tensor_type.shape.dim.add()
            if type(size) is int:
                dimension.dim_value = size
    text: bytes = made.SerializeToString()
    return text


def _listed(value: Any) -> list[Any]:
    if isinstance(value, core.Tensor):
        found: list[Any] = value.reshape(-1).tolist()
        return found
    return list(value)


def _note(error: Error, node: Node) -> None:
    """Names the node in an error that came up while it ran."""
    if getattr(error, "node", None) is not None:
        return
    error.node = node  # type: ignore[attr-defined]
    error.operands = (*error.operands, f"in {node}")


def _is_of_program(error: BaseException) -> bool:
    """Whether the model says that it be raised: then it goes through the nodes around as it is."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is fail.__code__


def _described(values: Sequence[Any]) -> list[str]:
    return [f"input {i}: {_shown(value)}" for i, value in enumerate(values) if value is not None]


def _shown(value: Any) -> str:
    if isinstance(value, core.Tensor):
        return f"{value.dtype.name}[{', '.join(map(str, value.shape))}]"
    if value.__class__ is Known:
        sizes = value.array.dtype == object
        return f"{value.dtype.name} {f'{value.array.size} sizes' if sizes else value.array.tolist()}"
    return type(value).__name__
