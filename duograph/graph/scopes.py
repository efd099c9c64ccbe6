"""Scopes of names, devices and control dependencies, and collections: those of the default graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from duograph.errors import ArgumentError

from .building import Graph, get_default_graph
from .elements import Tensor

__all__ = [
    "add_to_collection",
    "add_to_collections",
    "control_dependencies",
    "device",
    "get_collection",
    "get_collection_ref",
    "get_seed",
    "init_scope",
    "name_scope",
]

_SEED = 87654321  # of a graph without one, where an operation has its own


class name_scope:
    """Inside, names of operations begin with `name`; gives the scope's name, with "/" behind it.

    Args:
        name: of the scope; one that ends with "/" is taken as it stands, and None is the outermost.
        default_name: of the scope where `name` is None.
        values: tensors whose graph is meant; left out, the default graph.

    >>> import duograph.graph as tf
    >>> with tf.name_scope("hidden") as scope:
    ...     tf.constant(1.0, name="bias").name, scope
    ('hidden/bias:0', 'hidden/')
    """

    def __init__(self, name: str | None = None, default_name: str | None = None, values: Sequence[Any] | None = None) -> None:
        self.name = default_name if name is None else name
        if self.name is None and values is not None:
            raise ArgumentError("name_scope: name and default_name are both missing", hint="give one of them")
        self._values = values
        self._entered: list[tuple[AbstractContextManager[Any], AbstractContextManager[Any]]] = []

    def __enter__(self) -> str:
        graph = graph_of(self._values)
        contexts = graph.as_default(), graph.name_scope(self.name)
        contexts[0].__enter__()
        try:
            scope = contexts[1].__enter__()
        except BaseException:
            contexts[0].__exit__(None, None, None)
            raise
        self._entered.append(contexts)
        return scope

    def __exit__(self, *error: Any) -> None:
        graph, scope = self._entered.pop()
        scope.__exit__(*error)
        graph.__exit__(*error)


def graph_of(values: Iterable[Any] | None) -> Graph:
    """The graph of the first graph tensor among some values, or the default graph."""
    for value in values or ():
        if isinstance(value, Tensor):
            return value.graph
        if isinstance(value, (list, tuple)):
            inner = graph_of(value)
            if inner is not get_default_graph():
                return inner
    return get_default_graph()


def control_dependencies(control_inputs: Iterable[Any] | None) -> AbstractContextManager[None]:
    """Inside, operations run after these tensors and operations; None forgets those of outer contexts."""
    return get_default_graph().control_dependencies(control_inputs)


def device(device_name_or_function: Any) -> AbstractContextManager[None]:
    """Inside, operations are placed on a device: "/cpu:0", a function of the operation, or None."""
    return get_default_graph().device(device_name_or_function)


@contextmanager
def init_scope() -> Iterator[None]:
    """Inside, operations are outside of branches, loops, control dependencies and scopes of names: where variables belong."""
    graph = get_default_graph()
    with outside_regions(graph), graph.name_scope(None):
        yield


@contextmanager
def outside_regions(graph: Graph) -> Iterator[None]:
    """Inside, operations are outside of branches and loops and run after nothing in particular."""
    scopes = graph._scopes
    old = scopes.region, scopes.control
    scopes.region, scopes.control = None, []
    try:
        yield
    finally:
        scopes.region, scopes.control = old


def add_to_collection(name: Any, value: Any) -> None:
    """Puts a value into a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Puts a value into several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """What is in a collection of the default graph; with `scope` only what has a name that matches it from the start."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """The list that a collection of the default graph is."""
    return get_default_graph().get_collection_ref(key)


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The seeds of a random operation: the graph's, and the operation's own. Both are None where neither was set.

    >>> import duograph.graph as tf
    >>> tf.get_seed(3)
    (87654321, 3)
    """
    graph = get_default_graph()
    if graph.seed is not None:
        return graph.seed, graph.version if op_seed is None else op_seed
    return (None, None) if op_seed is None else (_SEED, op_seed)
