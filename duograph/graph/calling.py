"""Any function of duograph, or Module, on graph tensors: the call becomes one operation, and parameters become variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph import _recorded

from .building import Graph, get_default_graph
from .definition import Definition, Packing

if TYPE_CHECKING:
    from .variables import Variable

_definitions: dict[Any, Definition] = {}


def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None = None) -> Any:
    """Add an operation that calls a function of duograph tensors when the graph runs; gives its outputs.

    Args:
        args, kwargs: with graph tensors anywhere in nested lists, tuples and dicts. Parameters among them, and those of a Module
            that is called, are variables of the graph: the same memory in all sessions.
    """
    definition = _definitions.get(function)
    if definition is None:
        definition = _definitions[function] = _definition(function)
    packing = Packing(definition, {"args": [], "kwargs": {}})
    for values in (args, tuple(kwargs.values())):
        packing.find_graph(values)
    graph = packing.graph or get_default_graph()
    with graph.as_default():
        own = [parameter_variable(graph, parameter, path) for path, parameter in _parameters(function)]
        packing.attrs = {"args": _packed(packing, graph, list(args)), "kwargs": _packed(packing, graph, kwargs)}
        if own:
            packing.attrs["captures"] = tuple(own)
        return packing.graph_operation(name)


def _definition(function: Callable[..., Any]) -> Definition:
    title = getattr(function, "__name__", None) or getattr(function, "name", None) or type(function).__name__

    def apply(args: Any, kwargs: Any, captures: Any = ()) -> Any:
        return _recorded.callee(function)(*args, **kwargs)

    return Definition(str(title).strip("<>"), apply)


def _packed(packing: Packing, graph: Graph, value: Any) -> Any:
    if isinstance(value, core.Tensor):
        return packing.slot(parameter_variable(graph, value, "parameter")) if type(value) is not core.Tensor else value
    if isinstance(value, list):
        return [_packed(packing, graph, x) for x in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_packed(packing, graph, x) for x in value)
    if isinstance(value, dict):
        return {key: _packed(packing, graph, x) for key, x in value.items()}
    return packing.pack(value)


def _parameters(function: Any) -> list[tuple[str, Any]]:
    """The parameters that a Module, or a bound method of one, uses, with their paths."""
    owner = getattr(function, "__self__", function)
    found = getattr(owner, "named_parameters", None)
    if found is None:
        return []
    return [(f"{type(owner).__name__}/{path.replace('.', '/')}", parameter) for path, parameter in found()]


def parameter_variable(graph: Graph, parameter: Any, name: str) -> Variable:
    """The variable of a graph that is a Parameter."""
    from .variables import make_variable

    known = graph.shared.get(id(parameter))
    if known is None:
        with graph.name_scope(None):
            known = make_variable(parameter, trainable=parameter.requires_grad, name=name)
        graph.shared[id(parameter)] = known
    found: Variable = known
    return found
