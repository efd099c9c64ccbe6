"""Gradients that the user writes: `custom_gradient`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from duograph.autograd import Function
from duograph.errors import ArgumentError, GraphError
from duograph.ir.graph import Graph as Region

from .building import Graph, get_default_graph
from .constants import convert_to_tensor, identity
from .control_flow import captures_of, close
from .definition import Definition, filled, structure_of
from .elements import Operation, Slot, Tensor
from .resolving import Run, as_tensor
from .shapes import PartialType
from .variables import Variable

__all__ = ["NoGradient", "NotDifferentiable", "RegisterGradient", "custom_gradient", "grad_pass_through", "recompute_grad"]

_SLOPE = Definition("GradientOfOutput", lambda: None)


class _Given(Function):
    """Results as they are; backwards, what the user's function gives for their gradients."""

    @staticmethod
    def forward(ctx: Any, backward: Callable[..., Any], count: int, *values: Any) -> Any:
        ctx.function, ctx.count = backward, count
        return tuple([value.clone() for value in values[:count]])

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        return (None, None, *[None] * ctx.count, *ctx.function(slopes))


def _evaluate(run: Run, node: Operation) -> Any:
    (region,) = node.regions
    places = node.attrs["gives"]

    def backward(slopes: Sequence[Any]) -> list[Any]:
        found = [as_tensor(x) for x in run.region(region, slopes, region.nodes)]  # type: ignore[arg-type]
        return [None if place is None else found[place] for place in places]

    return list(_Given.apply(backward, node.attrs["count"], *[as_tensor(run.held(x)) for x in node.inputs]))


_CUSTOM = Definition("CustomGradient", lambda: None, evaluate=_evaluate)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function gives (results, function of the results' gradients that gives the arguments' gradients).

    The inner function gives one gradient for each argument, or None. If `f` reads trainable variables that are no arguments, it
    takes `variables=`, and gives (gradients of the arguments, gradients of the variables).

    Gradient: what the inner function gives; it is made of operations and can be differentiated again

    Errors:   ArgumentError for another number of gradients, or for variables that the inner function does not take

    >>> import duograph.graph as tf
    >>> @tf.custom_gradient
    ... def clipped(x):
    ...     return x * 10.0, lambda slope: tf.clip_by_value(slope * 10.0, -1.0, 1.0)
    >>> x = tf.constant(2.0)
    >>> y = clipped(x)
    >>> with tf.Session() as session:
    ...     session.run([y, tf.gradients(y, x)[0]])
    [np.float32(20.0), np.float32(1.0)]
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        graph = next((x.graph for x in args if isinstance(x, Tensor)), None) or get_default_graph()
        with graph.as_default(), graph.name_scope("CustomGradient"):
            arguments = [identity(convert_to_tensor(x)) for x in args]
            start = graph.version
            made = f(*arguments, **kwargs)
            if not isinstance(made, (list, tuple)) or len(made) != 2 or not callable(made[1]):
                raise ArgumentError(f"custom_gradient: {_title(f)} must give (results, function of the results' gradients)")
            leaves: list[Any] = []
            structure = structure_of(made[0], leaves, lambda x: not isinstance(x, (list, tuple, dict)))
            results = [convert_to_tensor(x) for x in leaves]
            return filled(structure, _node_of(graph, f, results, arguments, _read_since(graph, start), made[1]).outputs)

    return call


def _title(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def _read_since(graph: Graph, start: int) -> list[Variable]:
    """The trainable variables that operations since then read."""
    found = dict.fromkeys(x for node in graph.get_operations()[start:] for x in node.inputs)
    return [x for x in found if isinstance(x, Variable) and x.trainable]


def _node_of(
    graph: Graph, f: Any, results: list[Tensor], arguments: list[Tensor], variables: list[Variable], backward: Any
) -> Operation:
    """The operation that gives the results, and holds the gradients' operations as its inside."""
    with graph.region("gradient", "tf.custom_gradient") as inside:
        for i, result in enumerate(results):
            inside.inputs.append(graph.add(_SLOPE, (), {}, [result.type], f"gradient_{i}").output)
        found = _gradients(f, backward, inside.inputs, len(arguments), variables)
        given = [None if x is None else convert_to_tensor(x) for x in found]
    outputs = [x for x in given if x is not None]
    region: Region = close(inside, outputs)
    places = iter(range(len(outputs)))
    inputs = (*results, *arguments, *variables)
    attrs = {
        "inputs": [Slot(i) for i in range(len(inputs))],
        "count": len(results),
        "gives": [None if x is None else next(places) for x in given],
        "captures": captures_of(inside, outputs),
    }
    graph.check_inputs("custom_gradient", inputs)
    return graph.add(_CUSTOM, inputs, attrs, [PartialType(x.dtype, x.type.sizes) for x in results], None, (region,))


def _gradients(f: Any, backward: Any, slopes: list[Tensor], count: int, variables: list[Variable]) -> list[Any]:
    """What the user's function gives: a gradient for each argument, then for each variable."""
    if not variables:
        return _counted(f, backward(*slopes), count)
    parameters = inspect.signature(backward).parameters.values()
    if not any(p.name == "variables" or p.kind is p.VAR_KEYWORD for p in parameters):
        names = ", ".join(repr(v.node.name) for v in variables)
        raise ArgumentError(
            f"custom_gradient: {_title(f)} reads the variables {names}, of which its gradient does not know",
            [v.node.built_at for v in variables],
            hint="def grad(slope, variables=None): … return gradients of the arguments, gradients of the variables",
        )
    made = backward(*slopes, variables=variables)
    if not isinstance(made, (list, tuple)) or len(made) != 2:
        raise ArgumentError(f"custom_gradient: the gradient of {_title(f)} gives (those of arguments, those of variables)")
    return [*_counted(f, made[0], count), *_counted(f, made[1], len(variables))]


def _counted(f: Any, given: Any, count: int) -> list[Any]:
    found = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(found) != count:
        raise ArgumentError(f"custom_gradient: the gradient of {_title(f)} gives {len(found)} values for {count} arguments")
    return found


def grad_pass_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: gradients go to the only argument as if the function gave it back."""
    return custom_gradient(lambda x: (f(x), lambda slope: slope))


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: the program decides what is kept for gradients and what is computed again."""
    return f


def RegisterGradient(op_type: str) -> Any:
    """GraphError: gradients belong to functions here, `tf.custom_gradient`."""
    raise GraphError(
        f"RegisterGradient({op_type!r}): types of operations have no gradients of their own",
        hint="write the function with its gradient: @tf.custom_gradient",
    )


def NotDifferentiable(op_type: str) -> None:
    """GraphError: `tf.stop_gradient` ends gradients where they are to end."""
    raise GraphError(f"NotDifferentiable({op_type!r}): types of operations cannot be changed", hint="tf.stop_gradient(tensor)")


NoGradient = NotDifferentiable
