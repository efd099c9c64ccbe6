"""`Graph`: operations with names, in scopes, in the order in which they were built."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from duograph.capture.user_lines import user_location
from duograph.errors import ArgumentError, GraphError
from duograph.ir.graph import Graph as Region

from .elements import Operation, Tensor
from .shapes import PartialType

if TYPE_CHECKING:
    from .definition import Definition
    from .state import State

__all__ = ["Graph", "GraphKeys", "get_default_graph", "reset_default_graph"]

_VALID_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")


class GraphKeys:
    """Names of the collections that duograph itself fills."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    SUMMARIES = "summaries"
    QUEUE_RUNNERS = "queue_runners"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    TRAIN_OP = "train_op"
    GLOBAL_STEP = "global_step"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    SAVERS = "savers"
    SUMMARY_OP = "summary_op"
    ASSERTS = "asserts"
    WEIGHTS = "weights"
    BIASES = "biases"


class UnknownName(GraphError, KeyError):
    """A name that the graph does not have: also a KeyError, as TensorFlow's is."""


class OpenRegion:
    """A branch's or a loop's body while it is built: its nodes, and what it reads from outside."""

    def __init__(self, name: str, outer: OpenRegion | None, owner: str) -> None:
        self.name = name
        self.outer = outer
        self.owner = owner  # "tf.while_loop" or "tf.cond"
        self.inputs: list[Tensor] = []
        self.nodes: list[Operation] = []

    def inside(self, other: OpenRegion | None) -> bool:
        """Whether this region is `other` or lies in it."""
        region: OpenRegion | None = self
        while region is not None:
            if region is other:
                return True
            region = region.outer
        return other is None

    def closed(self, outputs: Sequence[Tensor]) -> Region:
        """The region as the IR has it."""
        return Region(tuple(self.inputs), tuple(self.nodes), tuple(outputs), name=self.name)


class _Scopes(threading.local):
    """Where a thread builds: scopes of names, control dependencies, devices, regions."""

    def __init__(self) -> None:
        self.name = ""
        self.control: list[tuple[Operation, ...]] = []
        self.devices: list[Any] = []
        self.region: OpenRegion | None = None
        self.variables: Any = None  # the variable scope


class Graph:
    """Operations that are defined first and run by a `Session`.

    `with graph.as_default():` makes it the one that functions of `duograph.graph` add to, for this thread.

    >>> import duograph.graph as tf
    >>> graph = tf.Graph()
    >>> with graph.as_default():
    ...     total = tf.add(tf.constant(1.0), 2.0, name="total")
    >>> graph.get_tensor_by_name("total:0") is total
    True
    """

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._counts: dict[str, int] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._scopes = _Scopes()
        self._lock = threading.RLock()
        self._finalized = False
        self.seed: int | None = None
        self.variables_by_name: dict[str, Any] = {}  # those made by `get_variable`
        self.variable_scopes: dict[str, int] = {}  # how often each was opened
        self.missing: dict[str, str] = {}  # names of operations that are not there, and why
        self.shared: dict[int, Any] = {}  # the variables that are Parameters, by the Parameter's id
        self.states: weakref.WeakSet[State] = weakref.WeakSet()  # of its sessions

    # ---- what is in it

    def get_operations(self) -> list[Operation]:
        """All operations in the order in which they were built, those of branches and loops included."""
        return list(self._operations)

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation of this name. GraphError if there is none."""
        found = self._by_name.get(name)
        if found is None:
            reason = f": {self.missing[name]}" if name in self.missing else ""
            raise UnknownName(f"the graph has no operation {name!r}{reason}", hint=None if reason else self._like(name))
        return found

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor of a name such as "scope/MatMul:0". GraphError if there is none."""
        operation, colon, index = name.rpartition(":")
        if not colon or not index.isdigit():
            raise GraphError(
                f"{name!r} is no name of a tensor", hint=f"tensors are called by operation and output: {name + ':0'!r}"
            )
        node = self.get_operation_by_name(operation)
        if int(index) >= len(node.outputs):
            raise UnknownName(f"operation {operation!r} has {len(node.outputs)} outputs: there is no {name!r}")
        return node.outputs[int(index)]

    def _like(self, name: str) -> str | None:
        from difflib import get_close_matches

        found = get_close_matches(name, self._by_name, 3)
        return f"did you mean {' or '.join(map(repr, found))}?" if found else None

    def as_graph_element(self, value: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The tensor or operation that an object or name stands for."""
        if isinstance(value, str):
            value = self.get_tensor_by_name(value) if ":" in value else self.get_operation_by_name(value)
        element = getattr(value, "_as_graph_element", None)
        value = element() if element is not None else value
        fits = (allow_tensor and isinstance(value, Tensor)) or (allow_operation and isinstance(value, Operation))
        if not fits:
            raise GraphError(f"{value!r} is no {'tensor' if allow_tensor else 'operation'} of a graph")
        if value.graph is not self:
            node = value if isinstance(value, Operation) else value.node
            raise GraphError(f"{value.name!r} belongs to another graph", [f"{node.built_at}"])
        return value

    def as_text(self) -> str:
        """One line for each operation: name, type, inputs, what it gives, and the line that built it."""
        from .text import graph_text

        return graph_text(self)

    def summary(self) -> str:
        """A table of the operations by type, of variables and placeholders. Also printed by `print(graph.summary())`."""
        from .text import graph_summary

        return graph_summary(self)

    def draw(self, path: Any, run: Any = None) -> None:
        """Draws the graph into a file: .svg, .png or .pdf.

        Args:
            path: of the file.
            run: the report of `session.explain(fetches, feed_dict)`. Then each operation bears the numbers of the kernels that
                compute it, so that those with the same number are fused; the kernels are listed below, with where each writes:
                bytes of the planned arena, a result, or state.

        Operations lie below what they read; scopes are frames, and so are the insides of branches and loops; dashed arrows
        are control dependencies. In a graph of more than 400 operations each outermost scope is one box.

        Errors:   ArgumentError if networkx or matplotlib is missing (`pip install "duograph[draw]"`), or if `run` is no report;
                  FileError for another ending
        """
        from .drawing import draw

        draw(self, path, run)

    def _repr_svg_(self) -> str:
        """The picture, for notebooks."""
        from .drawing import svg

        return svg(self)

    def as_function(self, inputs: Any, outputs: Any, session: Any = None) -> Any:
        """A part of the graph as a function for dynamic code: of duograph tensors for `inputs`, giving `outputs`.

        Args:
            inputs: a tensor of the graph, or a list of them; any tensor can be one, as any can be fed.
            outputs: what `Session.run` fetches, in any structure.
            session: where variables have their values: by default the innermost `with tf.Session():`. The function reads and
                writes the session's own memory, which are `nn.Parameter`s.

        Gradient: through the function, to its arguments and to variables (`variable.parameter().grad`)

        >>> import duograph as dg
        >>> import duograph.graph as tf
        >>> x = tf.placeholder(tf.float32, [None])
        >>> square = tf.get_default_graph().as_function(x, x * x)
        >>> value = dg.tensor([1.0, 3.0], requires_grad=True)
        >>> square(value).sum().backward()
        >>> value.grad
        tensor([2., 6.])
        """
        from .bridges import as_function

        return as_function(self, inputs, outputs, session)

    @property
    def finalized(self) -> bool:
        """Whether the graph can no longer be added to."""
        return self._finalized

    def finalize(self) -> None:
        """From here on adding an operation is an error."""
        self._finalized = True

    @property
    def version(self) -> int:
        """How many operations were added."""
        return len(self._operations)

    # ---- collections

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Puts a value into the collection of a name."""
        self._check_open()
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Puts a value into the collections of several names."""
        for name in (names,) if isinstance(names, str) else names:
            self.add_to_collection(name, value)

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """What is in a collection; with `scope` only what has a name that matches it from the start."""
        found = list(self._collections.get(name, ()))
        return found if scope is None else [x for x in found if re.match(scope, getattr(x, "name", ""))]

    def get_collection_ref(self, name: Any) -> list[Any]:
        """The collection's own list."""
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[Any]:
        """The names of collections that hold something."""
        return [name for name, values in self._collections.items() if values]

    def clear_collection(self, name: Any) -> None:
        """Empties a collection."""
        self._check_open()
        self._collections.pop(name, None)

    # ---- scopes

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Inside, this thread adds to this graph."""
        _DEFAULTS.graphs.append(self)
        try:
            yield self
        finally:
            if _DEFAULTS.graphs[-1] is not self:
                raise GraphError("graphs as defaults were left in another order than they were entered")
            _DEFAULTS.graphs.pop()

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """The name in the present scope, with a number behind it if it is taken."""
        if self._scopes.name:
            name = f"{self._scopes.name}/{name}"
        key = name.lower()
        count = self._counts.get(key, 0)
        if mark_as_used:
            self._counts[key] = count + 1
        if not count:
            return name
        made = f"{name}_{count}"
        while made.lower() in self._counts:
            count += 1
            made = f"{name}_{count}"
        if mark_as_used:
            self._counts[key] = count + 1
            self._counts[made.lower()] = 1
        return made

    def claim(self, name: str) -> None:
        """Takes a whole name that is to be an operation's. GraphError if there is one of that name."""
        if name in self._by_name:
            raise GraphError(f"the graph has an operation {name!r} already", [self._by_name[name].built_at])
        self._counts[name.lower()] = self._counts.get(name.lower(), 0) + 1

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Inside, names of operations begin with this; a name that ends with "/" is taken as it stands."""
        if name and not _VALID_NAME.match(name):
            raise ArgumentError(
                f"name_scope: {name!r} is no name of a scope", hint="letters, digits and _ . / - after a letter or digit"
            )
        scopes = self._scopes
        old = scopes.name
        if not name:
            scopes.name = ""
        elif name.endswith("/"):
            scopes.name = name[:-1]
        else:
            scopes.name = self.unique_name(name)
        try:
            yield f"{scopes.name}/" if scopes.name else ""
        finally:
            scopes.name = old

    def get_name_scope(self) -> str:
        """The present scope of names."""
        return self._scopes.name

    @contextmanager
    def control_dependencies(self, control_inputs: Iterable[Any] | None) -> Iterator[None]:
        """Inside, operations run after these; None forgets those of outer contexts."""
        scopes = self._scopes
        old = scopes.control
        if control_inputs is None:
            scopes.control = []
        else:
            found = [self.as_graph_element(x) for x in control_inputs]
            scopes.control = [*old, tuple(x if isinstance(x, Operation) else x.node for x in found)]
        try:
            yield
        finally:
            scopes.control = old

    @contextmanager
    def device(self, name: Any) -> Iterator[None]:
        """Inside, operations are placed on this device: "/cpu:0", a function of the operation, or None."""
        from .devices import check_device

        scopes = self._scopes
        old = scopes.devices
        scopes.devices = [] if name is None else [*old, name if callable(name) else check_device(name)]
        try:
            yield
        finally:
            scopes.devices = old

    @contextmanager
    def region(self, name: str, owner: str) -> Iterator[OpenRegion]:
        """Inside, operations are those of a branch or a loop's body."""
        scopes = self._scopes
        old = scopes.region, scopes.control
        scopes.region, scopes.control = OpenRegion(name, scopes.region, owner), []
        try:
            yield scopes.region
        finally:
            scopes.region, scopes.control = old

    @contextmanager
    def outermost(self) -> Iterator[None]:
        """Inside, operations belong to no branch or loop, and wait for nothing: as variables do."""
        scopes = self._scopes
        old = scopes.region, scopes.control
        scopes.region, scopes.control = None, []
        try:
            yield
        finally:
            scopes.region, scopes.control = old

    # ---- adding

    @contextmanager
    def changing(self) -> Iterator[None]:
        """An operation is changed inside: programs made before are let go. GraphError if the graph is finalized."""
        with self._lock:
            self._check_open()
            yield
            for state in self.states:
                state.epoch += 1

    def _check_open(self) -> None:
        if self._finalized:
            raise GraphError(
                "the graph is finalized: nothing can be added to it", hint="build everything before graph.finalize()"
            )

    def check_inputs(self, type: str, inputs: Sequence[Tensor], host: bool = False) -> None:
        """Whether an operation that is built now may read these tensors. `host`: it is made behind the program."""
        region = self._scopes.region
        if host and region is not None:
            raise GraphError(
                f"{type}: is made when the program is done: it cannot be inside of a {region.owner}",
                hint="return the tensor from the body, and build this of the result",
            )
        for tensor in inputs:
            node = tensor.node
            if node.definition.host is not None and not host:
                raise GraphError(
                    f"{type}: {tensor.name!r} is made when the program is done: no operation can read it",
                    [node.built_at],
                    hint="fetch it: session.run(…) gives its value",
                )
            if node.graph is not self:
                raise GraphError(
                    f"{type}: {tensor.name!r} belongs to another graph than the one that is built",
                    [node.built_at],
                    hint="build both under the same `with graph.as_default():`",
                )
            if node.region is not None and not (region is not None and region.inside(node.region)):
                raise GraphError(
                    f"{type}: {tensor.name!r} belongs to the inside of a {node.region.owner} and is not there outside of it",
                    [node.built_at],
                    hint="return it from the body",
                )

    def add(
        self,
        definition: Definition,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        types: Sequence[PartialType],
        name: str | None = None,
        regions: tuple[Region, ...] = (),
        kind: Callable[[PartialType, Operation, int], Tensor] | None = None,
        outside: bool = False,
    ) -> Operation:
        """Append an operation. `outside`: not in the region that is open, as variables are."""
        if self._finalized:
            self._check_open()
        if name is None:
            name = definition.called
        elif not _VALID_NAME.match(name):
            raise ArgumentError(
                f"{definition.type}: {name!r} is no name of an operation",
                hint="letters, digits and _ . / - after a letter or digit",
            )
        scopes = self._scopes
        with self._lock:
            name = self.unique_name(name) if name[-1] != "/" else name[:-1]
            node = Operation(self, definition, name, inputs, attrs, types, user_location(), regions, kind)
            if scopes.control and not outside:
                node.control_inputs = tuple(dict.fromkeys(c for group in scopes.control for c in group))
            if scopes.devices:
                self._place(node, scopes.devices)
            node.order = len(self._operations)
            self._operations.append(node)
            self._by_name[name] = node
            if scopes.region is not None and not outside:
                node.region = scopes.region
                scopes.region.nodes.append(node)
        return node

    def _place(self, node: Operation, devices: Sequence[Any]) -> None:
        from .devices import check_device

        for device in devices:
            node.device = check_device(device(node)) if callable(device) else device or node.device

    def __repr__(self) -> str:
        return f"<tf.Graph of {len(self._operations)} operations>"


class _Defaults(threading.local):
    def __init__(self) -> None:
        self.graphs: list[Graph] = []


_DEFAULTS = _Defaults()
_process_graph = [Graph()]


def get_default_graph() -> Graph:
    """The graph that functions add to: the innermost `with graph.as_default():` of this thread, or the process's own."""
    return _DEFAULTS.graphs[-1] if _DEFAULTS.graphs else _process_graph[0]


def reset_default_graph() -> None:
    """Begins the process's own graph anew. GraphError inside of `with graph.as_default():`."""
    if _DEFAULTS.graphs:
        raise GraphError(
            "reset_default_graph: inside of `with graph.as_default():`", hint="call it outside, or begin a new tf.Graph()"
        )
    _process_graph[0] = Graph()
