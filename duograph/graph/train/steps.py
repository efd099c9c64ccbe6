"""The global step: how many steps a training has made."""

from __future__ import annotations

from typing import Any

from duograph import _core as core
from duograph.errors import GraphError

from ..building import Graph, GraphKeys, get_default_graph
from ..elements import Tensor
from ..variables import Variable, make_variable

__all__ = [
    "assert_global_step",
    "create_global_step",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
]


def global_step(sess: Any, global_step_tensor: Tensor) -> int:
    """The number of steps, as a session has it.

    >>> import duograph.graph as tf
    >>> step = tf.Variable(10, trainable=False, name="global_step")
    >>> with tf.Session() as session:
    ...     session.run(step.initializer)
    ...     tf.train.global_step(session, step)
    10
    """
    return int(sess.run(global_step_tensor))


def get_global_step(graph: Graph | None = None) -> Variable | None:
    """The graph's global step: of the collection GLOBAL_STEP, or the variable "global_step"; None if there is none.

    Errors:   GraphError if there are several, or it is no integer
    """
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        names = ", ".join(repr(v.node.name) for v in found)
        raise GraphError(f"get_global_step: the collection GLOBAL_STEP holds {names}", hint="there can be one in a graph")
    if not found:
        node = graph._by_name.get("global_step")
        found = [node.outputs[0]] if node is not None and node.outputs else []
    if not found:
        return None
    assert_global_step(found[0])
    step: Variable = found[0]
    return step


def assert_global_step(global_step_tensor: Any) -> None:
    """GraphError for what is no global step: a variable of one integer."""
    if not isinstance(global_step_tensor, Tensor):
        raise GraphError(f"the global step is {global_step_tensor!r}, which is no variable")
    if global_step_tensor.dtype.kind != "i" or global_step_tensor.type.sizes not in ((), None):
        raise GraphError(
            f"the global step is one integer; {global_step_tensor.name} is {global_step_tensor.type!r}",
            [global_step_tensor.node.built_at],
        )


def create_global_step(graph: Graph | None = None) -> Variable:
    """A new variable "global_step", 0 at first, of int64.

    Errors:   GraphError if the graph has one
    """
    graph = graph or get_default_graph()
    found = get_global_step(graph)
    if found is not None:
        raise GraphError(
            f"create_global_step: the graph has {found.node.name!r}",
            [found.node.built_at],
            hint="tf.train.get_or_create_global_step()",
        )
    with graph.as_default(), graph.name_scope(None):
        names = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP]
        return make_variable(0, False, names, name="global_step", dtype=core.int64)


def get_or_create_global_step(graph: Graph | None = None) -> Variable:
    """The graph's global step; a new one if there is none."""
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found
