"""The elements of a graph that is defined before it runs: its operations are the IR's nodes, its tensors their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from duograph import _core as core
from duograph.errors import ArgumentError, CaptureError, DTypeError, GraphError, ShapeError
from duograph.ir.graph import Graph as Region
from duograph.ir.graph import Node, Value

from .shapes import PartialType, TensorShape

if TYPE_CHECKING:
    from duograph.ir.location import Location

    from .building import Graph, OpenRegion
    from .definition import Definition

__all__ = ["Operation", "Tensor"]


class Slot:
    """The place of input `index` among the arguments of an operation."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"%{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and self.index == other.index

    def __hash__(self) -> int:
        return hash(("slot", self.index))


class Held:
    """A constant's value. Of a few whole numbers it is also known as Python's, also where a capture reads no values."""

    __slots__ = ("__weakref__", "plain", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.plain: Any = None
        if isinstance(value, core.Tensor) and value.dtype.kind in "iub" and value.numel() <= 64:
            self.plain = value.tolist()
            _held[id(value)] = self

    def __repr__(self) -> str:
        value = self.value
        if isinstance(value, core.Tensor):
            return repr(value.tolist()) if value.numel() <= 8 else f"<{value.numel()} numbers>"
        return repr(value)


_held: WeakValueDictionary[int, Held] = WeakValueDictionary()


def known_value(tensor: Any) -> Any:
    """The value of a constant of few whole numbers as Python has it; None for any other tensor."""
    found = _held.get(id(tensor))
    return found.plain if found is not None and found.value is tensor else None


class Operation(Node):
    """One operation of a `Graph`, as TensorFlow 1 has it: an `ir.Node` with a name.

    name             unique in its graph, with its scopes: "layer/MatMul_1"
    type             what it does: "MatMul"
    inputs, outputs  graph tensors
    control_inputs   operations that run before it
    attrs            its other arguments
    location         the line that built it
    """

    __slots__ = ("control_inputs", "definition", "device", "graph", "name", "order", "region")

    op: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(
        self,
        graph: Graph,
        definition: Definition,
        name: str,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        types: Sequence[PartialType],
        location: Location | None,
        regions: tuple[Region, ...] = (),
        kind: Callable[[PartialType, Operation, int], Tensor] | None = None,
    ) -> None:
        self.op = definition.type
        self.definition = definition
        self.graph = graph
        self.name = name
        self.inputs = inputs
        self.attrs = attrs
        self.regions = regions
        self.location = location
        self.scope = name
        self.control_inputs: tuple[Operation, ...] = ()
        self.device = ""
        self.order = -1
        self.region: OpenRegion | None = None
        made = kind or Tensor
        self.outputs = tuple([made(type, self, index) for index, type in enumerate(types)])

    @property
    def type(self) -> str:
        """What the operation does."""
        return self.op

    @property
    def output(self) -> Tensor:
        """The only output."""
        (value,) = self.outputs
        return value

    def values(self) -> tuple[Tensor, ...]:
        """The outputs."""
        return self.outputs

    def get_attr(self, name: str) -> Any:
        """An argument of the operation that is no tensor. ArgumentError for an unknown name."""
        if name not in self.attrs:
            raise ArgumentError(
                f"operation {self.name} has no attribute {name!r}", hint=f"it has {', '.join(self.attrs) or 'none'}"
            )
        return self.attrs[name]

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Runs it in a session, by default the innermost `with tf.Session()`."""
        from .session import session_for

        session_for(session, self.graph).run(self, feed_dict)

    def _add_control_input(self, op: Any) -> None:
        """Lets it wait for another operation, which was built before it. See `_add_control_inputs`."""
        self._add_control_inputs([op])

    def _add_control_inputs(self, ops: Sequence[Any]) -> None:
        """Lets it wait for other operations, which were built before it: runs from now on do.

        Errors:   GraphError for a cycle, an operation built later, one in another branch or loop, a finalized graph
        """
        from .editing import add_control_inputs

        add_control_inputs(self, ops)

    def _update_input(self, index: int, tensor: Any) -> None:
        """Lets it read another tensor as its input number `index`, of the same dtype and shape: runs from now on do.

        Errors:   as of `_add_control_inputs`; DTypeError, ShapeError, ArgumentError if the tensor or the number does not fit
        """
        from .editing import update_input

        update_input(self, index, tensor)

    @property
    def built_at(self) -> str:
        """The line that built it, for messages."""
        return f"{self.name} ({self.op}) built at {self.location}" if self.location else f"{self.name} ({self.op})"

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.op}>"


class Tensor(Value):
    """An output of an operation: it has a name, a dtype and as much of a shape as is known, but no value until a session runs.

    Arithmetic, comparisons and slices make further operations.
    """

    __slots__ = ()

    node: Operation
    type: PartialType

    __array_priority__ = 100

    def __init__(self, type: PartialType, node: Operation, index: int = 0) -> None:
        self.type = type
        self.node = node
        self.index = index
        self.name = f"{node.name}:{index}"

    @property
    def op(self) -> Operation:
        """The operation that gives it."""
        return self.node

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.node.graph

    @property
    def value_index(self) -> int:
        """Which output of its operation it is."""
        return self.index

    @property
    def device(self) -> str:
        """Where its operation was placed."""
        return self.node.device

    @property
    def shape(self) -> TensorShape:  # type: ignore[override]
        """What is known of its shape."""
        return TensorShape(self.type.sizes)

    get_shape = lambda self: TensorShape(self.type.sizes)  # noqa: E731

    @property
    def ndim(self) -> int:
        """The rank. ShapeError if it is unknown."""
        return len(self.shape)

    def set_shape(self, shape: Any) -> None:
        """Says more of the shape than could be found. ShapeError if it contradicts what is known."""
        self.type = PartialType(self.type.dtype, self.shape.merge_with(shape).sizes)

    def consumers(self) -> list[Operation]:
        """The operations that read it."""
        return [node for node in self.graph.get_operations() if self in node.inputs]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Its value as a NumPy array, in a session: by default the innermost `with tf.Session()`."""
        from .session import session_for

        return session_for(session, self.graph).run(self, feed_dict)

    def __bool__(self) -> NoReturn:
        raise CaptureError(
            f"{self.name} has no value while the graph is built: Python cannot decide by it",
            [f"{self.node.built_at}"],
            hint="use tf.cond, tf.while_loop or tf.where, which decide when the graph runs",
        )

    __int__ = __float__ = __index__ = __bool__

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise DTypeError(
            f"{self.name} has no value while the graph is built: NumPy cannot read it",
            [f"{self.node.built_at}"],
            hint="run it: session.run(tensor), and give the result to NumPy; or use the function of duograph.graph",
        )

    def __iter__(self) -> Any:
        sizes = self.type.sizes
        if not sizes or sizes[0] is None:
            raise ShapeError(
                f"{self.name} cannot be gone over: its first size is unknown while the graph is built, or it has none",
                [f"{self.node.built_at}"],
                hint="use tf.map_fn, tf.scan or tf.while_loop",
            )
        return (self[i] for i in range(sizes[0]))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Tensor:
        from .slicing import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise GraphError(
            f"{self.name}: elements of a tensor of a graph cannot be assigned",
            [self.node.built_at],
            hint="tf.where(mask, value, tensor) makes another tensor; variables have tf.scatter_update and assign",
        )

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self.shape} dtype={self.dtype.name}>"

    @classmethod
    def __duograph_function__(cls, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A function of duograph was called with graph tensors: it becomes an operation."""
        from .calling import call

        return call(function, args, kwargs)
