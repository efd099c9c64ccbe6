"""What an operation of a define-and-run graph is: a Python function of duograph tensors, with the arguments that are tensors.

`@operation("MatMul")` makes of such a function one that adds an operation to a graph. When a session runs the graph, the function
is called with the run's (traced) tensors: what it does there is captured, as any function is by `dg.static`.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from duograph.errors import ArgumentError

from .building import get_default_graph
from .elements import Operation, Slot, Tensor
from .shapes import Dimension, TensorShape

if TYPE_CHECKING:
    from .building import Graph
    from .resolving import Run

TENSOR, TENSORS, NUMBERS, PLAIN = range(4)
# How a parameter is annotated, and what that makes of its argument: a tensor; several; sizes, axes and positions, which may
# hold tensors; anything else.
_KINDS = {"Operand": TENSOR, "Operands": TENSORS, "Numbers": NUMBERS}
Operand: TypeAlias = Any
Operands: TypeAlias = Any
Numbers: TypeAlias = Any

# What TensorFlow 1 also calls a parameter.
_ALIASES = {
    "keep_dims": "keepdims",
    "reduction_indices": "axis",
    "dim": "axis",
    "axes": "axis",
    "dimension": "axis",
    "concat_dim": "axis",
    "squeeze_dims": "axis",
    "indices_or_sections": "num_or_size_splits",
    "split_dim": "axis",
    "shape": "size",
    "rate": "prob",
}


class Definition:
    """One type of operation.

    evaluate   (run, node) -> its outputs, where the plain call of `function` will not do
    infer      (arguments) -> the outputs' types, where running `function` on types will not do; NotImplemented where it will
    sizes      whether `function` takes numbers of the run (sizes of shapes) where it says Tensor
    host       (arguments, with NumPy's values for tensors) -> the output, made behind the program: for what is no tensor
    called     what an operation is called that is given no name
    late       it runs when all is done that does not come behind it: it overwrites what others may read
    stretches  shapes of tensors are stretched to fit each other, where they do
    draws      it gives something else at each run
    differentiable  whether gradients go through it
    """

    def __init__(
        self,
        type: str,
        function: Callable[..., Any],
        evaluate: Callable[[Run, Operation], Any] | None = None,
        infer: Callable[..., Any] | None = None,
        sizes: bool = False,
        differentiable: bool = True,
        stateful: bool = False,
        aliases: Mapping[str, str] | None = None,
        host: Callable[..., Any] | None = None,
        late: bool = False,
        called: str | None = None,
        stretches: bool = False,
    ) -> None:
        self.type = type
        self.called = called or type
        self.function = function
        self.evaluate = evaluate
        self.infer = infer
        self.sizes = sizes
        self.differentiable = differentiable
        self.stateful = stateful
        self.host = host
        self.late = late
        self.stretches = stretches
        self.aliases = dict(aliases or {})
        parameters = inspect.signature(function).parameters
        annotations = function.__annotations__
        self.params = tuple(name for name in parameters if name != "name")
        self.named = tuple(parameters)
        self.kinds = {name: _KINDS.get(str(annotations.get(name, "")), PLAIN) for name in self.params}
        self.required = tuple(
            name for name, p in parameters.items() if p.default is p.empty and name != "name" and p.kind is not p.VAR_POSITIONAL
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by parameter, the operation's `name` among them."""
        if len(args) > len(self.named):
            raise ArgumentError(f"{self.type}: takes {len(self.named)} arguments, got {len(args)}")
        bound = dict(zip(self.named, args))
        for name, value in kwargs.items():
            if name not in self.kinds and name != "name":
                other = self.aliases.get(name) or _ALIASES.get(name)
                if other not in self.kinds:
                    raise ArgumentError(
                        f"{self.type}: has no argument {name!r}", hint=f"its arguments are {', '.join(self.named)}"
                    )
                name = other
            if name in bound:
                raise ArgumentError(f"{self.type}: {name} is given twice")
            bound[name] = value
        for name in self.required:
            if name not in bound:
                raise ArgumentError(f"{self.type}: {name} is missing", hint=f"its arguments are {', '.join(self.named)}")
        return bound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add an operation to the graph of the arguments, or to the default graph; gives its outputs."""
        bound = self.bind(args, kwargs)
        name = bound.pop("name", None)
        packing = Packing(self, bound)
        return packing.graph_operation(name)


class Packing:
    """The arguments of one operation: tensors become inputs, the rest attributes with slots for them."""

    def __init__(self, definition: Definition, bound: dict[str, Any]) -> None:
        self.definition = definition
        self.inputs: list[Tensor] = []
        self.graph: Graph | None = None
        self.find_graph(bound.values())
        kinds = definition.kinds
        attrs: dict[str, Any] = {}
        numbers: list[str] = []
        for name, value in bound.items():
            kind = kinds[name]
            if kind == TENSOR:
                if value.__class__ in (int, float, bool):
                    numbers.append(name)
                    attrs[name] = value
                else:
                    attrs[name] = self.tensor(value)
            elif kind == TENSORS:
                attrs[name] = [self.tensor(x) for x in value] if isinstance(value, (list, tuple)) else self.tensor(value)
            else:
                attrs[name] = self.pack(value, kind)
        if numbers and not self.inputs:  # of numbers alone: these are constants, as any array would be
            for name in numbers:
                attrs[name] = self.tensor(attrs[name], constant=True)
        self.attrs = attrs

    def find_graph(self, values: Any) -> None:
        for value in values:
            if isinstance(value, Tensor):
                self.graph = value.node.graph
            elif isinstance(value, (list, tuple)):
                self.find_graph(value)
            if self.graph is not None:
                return

    def slot(self, tensor: Tensor) -> Slot:
        self.inputs.append(tensor)
        return Slot(len(self.inputs) - 1)

    def tensor(self, value: Any, constant: bool = False) -> Any:
        """An argument that is to be a tensor: what is none yet becomes a constant."""
        if isinstance(value, Tensor):
            return self.slot(value)
        if value is None or (value.__class__ in (int, float, bool) and not constant):
            return value
        element = getattr(value, "_as_graph_element", None)
        if element is not None:
            return self.slot(element())
        from .constants import convert_to_tensor as make

        with (self.graph or get_default_graph()).as_default():
            return self.slot(make(value))

    def pack(self, value: Any, kind: int = PLAIN) -> Any:
        """Any other argument, with the tensors in it."""
        if isinstance(value, Tensor):
            numbers = numbers_in(value) if kind == NUMBERS else None
            return self.slot(value) if numbers is None else self.pack(numbers, kind)
        if isinstance(value, (list, tuple)):
            made = [self.pack(x, kind) for x in value]
            return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
        if isinstance(value, dict):
            return {key: self.pack(x, kind) for key, x in value.items()}
        if isinstance(value, Dimension):
            return value.value
        if isinstance(value, TensorShape):
            return value.as_list()
        if isinstance(value, np.ndarray):
            return value.tolist() if kind == NUMBERS else value
        element = getattr(value, "_as_graph_element", None)
        return value if element is None else self.slot(element())

    def graph_operation(self, name: str | None) -> Any:
        """The operation's outputs, as its function gives them; the operation itself where it gives nothing."""
        from .inference import result_types

        graph = self.graph or get_default_graph()
        inputs = tuple(self.inputs)
        graph.check_inputs(self.definition.type, inputs, self.definition.host is not None)
        types, structure = result_types(self.definition, self.attrs, inputs)
        node = graph.add(self.definition, inputs, self.attrs, types, name)
        return node if structure is None else filled(structure, node.outputs)


def _uncast(tensor: Tensor) -> Tensor:
    """What whole numbers were cast from."""
    return tensor.node.inputs[0] if tensor.node.op == "Cast" and tensor.node.inputs[0].dtype.kind == "i" else tensor


def numbers_in(tensor: Tensor) -> Any:
    """What a tensor of sizes was put together from: numbers, and tensors of one number; None where that is not seen.

    So the sizes that are known stay known in the shapes of what is made with them.
    """
    node = tensor.node
    if node.op == "Const":
        return getattr(node.attrs["value"], "plain", None)
    if node.op == "Cast" and tensor.dtype.kind == node.inputs[0].dtype.kind == "i":
        return numbers_in(node.inputs[0])
    if node.op == "Shape" and node.inputs and node.inputs[0].type.sizes is not None:
        sizes = node.inputs[0].type.sizes
        return [tensor[i] if size is None else size for i, size in enumerate(sizes)]
    if node.op == "StridedSlice" and (source := _uncast(node.inputs[0]).node).op == "Shape":
        given, key = source.inputs[0].type.sizes, node.attrs["key"]
        one = given is not None and len(key) == 1 and key[0].__class__ is int and -len(given) <= key[0] < len(given)
        return given[key[0]] if one and given is not None else None
    if node.op == "Pack" and node.attrs.get("axis", 0) == 0 and tensor.type.sizes is not None and len(tensor.type.sizes) == 1:
        parts = node.attrs["values"]
        return [node.inputs[x.index] if isinstance(x, Slot) else x for x in parts] if isinstance(parts, list) else None
    if node.op == "ConcatV2" and isinstance(node.attrs["values"], list):
        joined: list[Any] = []
        for slot in node.attrs["values"]:
            part = node.inputs[slot.index]
            found = numbers_in(part)
            if found is None and part.type.sizes not in (None, (None,)):
                found = [part[i] for i in range(part.type.sizes[0])]
            if not isinstance(found, list):
                return None
            joined.extend(found)
        return joined
    return None


def filled(template: Any, values: Sequence[Any]) -> Any:
    """The template with values for its slots."""
    kind = template.__class__
    if kind is Slot:
        return values[template.index]
    if kind is list:
        return [filled(x, values) for x in template]
    if kind is tuple:
        return tuple([filled(x, values) for x in template])
    if kind is dict:
        return {key: filled(x, values) for key, x in template.items()}
    if isinstance(template, tuple):
        return kind(*[filled(x, values) for x in template])
    if kind is OrderedDict:
        return OrderedDict((key, filled(x, values)) for key, x in template.items())
    return template


def structure_of(value: Any, leaves: list[Any], is_leaf: Callable[[Any], bool]) -> Any:
    """A nested value as a template; its leaves are appended to `leaves`."""
    if is_leaf(value):
        leaves.append(value)
        return Slot(len(leaves) - 1)
    if isinstance(value, (list, tuple)):
        made = [structure_of(x, leaves, is_leaf) for x in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    if isinstance(value, dict):
        found = {key: structure_of(x, leaves, is_leaf) for key, x in value.items()}
        return OrderedDict(found) if isinstance(value, OrderedDict) else found
    return value


def operation(type: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a function of tensors becomes one that adds an operation of this type to the graph."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        definition = Definition(type, function, **options)

        @functools.wraps(function)
        def build(*args: Any, **kwargs: Any) -> Any:
            return definition(*args, **kwargs)

        build.definition = definition  # type: ignore[attr-defined]
        return build

    return decorate
