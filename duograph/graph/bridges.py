"""From a graph to dynamic code: a part of it as a function of duograph tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.autograd import enable_grad, is_grad_enabled
from duograph.capture.static import Handler, make_static
from duograph.errors import ArgumentError, DTypeError, GraphError

from .definition import filled, structure_of
from .elements import Operation, Tensor
from .gradients import _GRADIENT
from .plans import leaf_of
from .resolving import Run, needed
from .state import State
from .variables import Variable

if TYPE_CHECKING:
    from .building import Graph
    from .session import Session

__all__ = ["graph_replace"]


class GraphFunction:
    """A part of a graph as a function: of tensors for `inputs`, giving `outputs` in their structure."""

    def __init__(self, state: State, inputs: Sequence[Tensor], structure: Any, outputs: Sequence[Any]) -> None:
        self.state = state
        self.inputs = list(inputs)
        self.structure = structure
        self.outputs = list(outputs)
        self.nodes = needed(self.outputs, dict.fromkeys(self.inputs))
        gradients = [node for node in self.nodes if node.definition is _GRADIENT]
        self.leaves = {node.inputs[slot.index] for node in gradients for slot in node.attrs["xs"]}
        self.__name__ = "graph_function"
        self.__argument_names__ = [x.node.name.replace("/", ".") for x in self.inputs]

    @property
    def __state_names__(self) -> dict[int, str]:
        """The names of variables, by the id of the tensor that has the value."""
        variables = [x for node in self.nodes for x in node.outputs if isinstance(x, Variable)]
        values = {x: x.shared if x.shared is not None else self.state.read(x) for x in variables if self.state.has(x)}
        return {id(value): x.node.name for x, value in values.items()}

    def __call__(self, *values: Any) -> Any:
        if len(values) != len(self.inputs):
            raise ArgumentError(f"{self.__name__}: takes {len(self.inputs)} tensors, got {len(values)}")
        fed = dict(zip(self.inputs, values))
        run = Run(self.state, {x: leaf_of(x, value, self.leaves) for x, value in fed.items()}, (), self.leaves)
        run.again = is_grad_enabled() and any(x.requires_grad for x in values if isinstance(x, core.Tensor))
        if self.leaves:
            with enable_grad():
                run.go(self.nodes)
        else:
            run.go(self.nodes)
        found = [None if isinstance(x, Operation) else self._given(run, x) for x in self.outputs]
        return filled(self.structure, found)

    def _given(self, run: Run, tensor: Tensor) -> Any:
        value = run.tensor(tensor)
        return value.clone() if run.state.holds(value) else value


def as_function(graph: Graph, inputs: Any, outputs: Any, session: Session | None = None) -> Callable[..., Any]:
    """See `Graph.as_function`."""
    from .session import get_default_session

    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    feeds = [graph.as_graph_element(x, allow_operation=False) for x in given]
    leaves: list[Any] = []
    structure = structure_of(outputs, leaves, lambda x: not isinstance(x, (list, tuple, dict)))
    fetches = [graph.as_graph_element(x) for x in leaves]
    for element in (*feeds, *fetches):
        node = element if isinstance(element, Operation) else element.node
        if node.region is not None:
            raise GraphError(f"as_function: {element.name!r} is inside of a {node.region.owner}", [node.built_at])
    default = get_default_session()
    found = session or (default if default is not None and default.graph is graph else None)
    nodes = needed(fetches, dict.fromkeys(feeds))
    for node in nodes:
        if node.definition.host is not None:
            what = f"as_function: {node.name!r} is made by Python after a run ({node.op}): a function of tensors does not have it"
            raise GraphError(what, [node.built_at], hint="fetch it in a session")
    own = [x for node in nodes for x in node.outputs if isinstance(x, Variable) and x.shared is None]
    if found is None and own:
        raise GraphError(
            f"as_function: variable {own[0].node.name!r} has its value in a session",
            [own[0].node.built_at],
            hint="give session=, or call it inside of `with tf.Session():`",
        )
    function = GraphFunction(State() if found is None else found.state, feeds, structure, fetches)
    made: Callable[..., Any] = make_static(function, Handler(function, False))
    return made


def graph_replace(target_ts: Any, replacement_ts: Mapping[Tensor, Tensor], name: str | None = None) -> Any:
    """Copies of tensors that are computed from other tensors in the place of some: what lies between is copied.

    Args:
        target_ts: tensors, in any structure.
        replacement_ts: for tensors that these are computed from, those to read instead.

    Errors:   GraphError where a branch or loop reads a replaced tensor inside; DTypeError for another dtype

    Source:   tf.contrib.graph_editor.graph_replace

    >>> import duograph.graph as tf
    >>> x = tf.constant(2.0)
    >>> y = tf.identity(x * x + 1.0)
    >>> with tf.Session() as session:
    ...     session.run(tf.graph_replace(y, {x: tf.constant(3.0)}))
    np.float32(10.0)
    """
    targets: list[Any] = []
    structure = structure_of(target_ts, targets, lambda x: not isinstance(x, (list, tuple, dict)))
    graph = targets[0].graph
    made: dict[Tensor, Tensor] = {}
    for old, new in replacement_ts.items():
        if old.dtype is not new.dtype:
            raise DTypeError(f"graph_replace: {old.name} is {old.dtype.name}, {new.name} is {new.dtype.name}")
        made[old] = new
    with graph.as_default(), graph.name_scope(name):
        for node in needed(targets, made):
            read = (*node.inputs, *node.attrs.get("captures", ()))
            if not any(x in made for x in read) or any(x in made for x in node.outputs):
                continue
            if any(x in made for x in node.attrs.get("captures", ())) and node.regions:
                raise GraphError("graph_replace: a branch or loop reads a tensor that is replaced", [node.built_at])
            attrs = dict(node.attrs)
            if "captures" in attrs:
                attrs["captures"] = tuple(made.get(x, x) for x in attrs["captures"])
            types = [x.type for x in node.outputs]
            inputs = tuple(made.get(x, x) for x in node.inputs)
            copy = graph.add(node.definition, inputs, attrs, types, node.name.rpartition("/")[2], node.regions)
            made.update(zip(node.outputs, copy.outputs))
    return filled(structure, [made.get(x, x) for x in targets])
