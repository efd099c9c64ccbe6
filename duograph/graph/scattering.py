"""Rows and elements of variables changed where indices say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.autograd import no_grad
from duograph.errors import DTypeError, ShapeError

from .constants import convert_to_tensor
from .definition import Definition
from .elements import Operation, Slot, Tensor
from .gathering import places_in
from .variables import variable_of

__all__ = [
    "scatter_add",
    "scatter_div",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_nd_add",
    "scatter_nd_sub",
    "scatter_nd_update",
    "scatter_sub",
    "scatter_update",
]


def _changed(run: Any, node: Operation) -> Any:
    """The variable with its new value."""
    variable = node.inputs[0]
    indices, updates = run.tensor(node.inputs[1]), run.tensor(node.inputs[2])
    held = run.state.read(variable)
    with no_grad():
        value = held.detach() if isinstance(held, core.Tensor) else held
        places = places_in(indices) if node.attrs["nd"] else (indices,)
        rows = value[places]
        updates = dg.broadcast_to(updates.to(value.dtype), tuple(rows.shape))
        return run.state.write(variable, _RULES[node.attrs["how"]](value, places, updates))


def _reduced(kind: str) -> Callable[..., Any]:
    def rule(value: Any, places: Any, updates: Any) -> Any:
        index = places[0].reshape([-1])
        return dg.index_reduce(value, 0, index, updates.reshape([-1, *value.shape[1:]]), kind)

    return rule


_RULES: dict[str, Callable[..., Any]] = {
    "update": lambda value, places, updates: dg.index_put(value, places, updates, False),
    "add": lambda value, places, updates: dg.index_put(value, places, updates, True),
    "sub": lambda value, places, updates: dg.index_put(value, places, -updates, True),
    "mul": _reduced("prod"),
    "div": lambda value, places, updates: _reduced("prod")(value, places, 1.0 / updates),
    "max": _reduced("amax"),
    "min": _reduced("amin"),
}


def _scatter(type: str, how: str, nd: bool = False) -> Callable[[Any, Any, Any, str | None], Tensor]:
    definition = Definition(type, lambda: None, evaluate=_changed, differentiable=False, stateful=True)

    def build(ref: Any, indices: Any, updates: Any, name: str | None) -> Tensor:
        ref = variable_of(type, ref)
        with ref.graph.as_default():
            indices = convert_to_tensor(indices)
            updates = updates if isinstance(updates, Tensor) else convert_to_tensor(updates, ref.dtype)
            _check(type, ref, indices, nd)
            ref.graph.check_inputs(type, (ref, indices, updates))
            attrs = {"ref": Slot(0), "indices": Slot(1), "updates": Slot(2), "how": how, "nd": nd}
            made: Operation = ref.graph.add(definition, (ref, indices, updates), attrs, [ref.type], name or type)
            return made.output

    return build


def _check(type: str, ref: Tensor, indices: Tensor, nd: bool) -> None:
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"{type}: indices must be integers, got {indices.dtype.name}", [indices.node.built_at])
    rank, depth = ref.shape.ndims, (indices.type.sizes or (None,))[-1]
    if rank == 0 or (nd and rank is not None and depth is not None and depth > rank):
        raise ShapeError(f"{type}: the shape {ref.shape} of {ref.name} has not the dimensions that the indices name")


_UPDATE, _ADD, _SUB = _scatter("ScatterUpdate", "update"), _scatter("ScatterAdd", "add"), _scatter("ScatterSub", "sub")
_MUL, _DIV = _scatter("ScatterMul", "mul"), _scatter("ScatterDiv", "div")
_MAX, _MIN = _scatter("ScatterMax", "max"), _scatter("ScatterMin", "min")
_ND_UPDATE = _scatter("ScatterNdUpdate", "update", True)
_ND_ADD, _ND_SUB = _scatter("ScatterNdAdd", "add", True), _scatter("ScatterNdSub", "sub", True)


def scatter_update(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Gives rows of a variable new values. As a tensor: the variable's value behind it.

    Shapes:   ref [N, *S], indices [*I], updates [*I, *S] or what stretches to it
    Errors:   GraphError if `ref` is no variable; BoundsError for an index that is none

    >>> import duograph.graph as tf
    >>> v = tf.Variable([1.0, 2.0, 3.0])
    >>> with tf.Session() as session:
    ...     session.run(v.initializer)
    ...     session.run(tf.scatter_update(v, [0, 2], [10.0, 30.0]))
    array([10.,  2., 30.], dtype=float32)
    """
    return _UPDATE(ref, indices, updates, name)


def scatter_add(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Adds to rows of a variable; to a row that is named twice, twice."""
    return _ADD(ref, indices, updates, name)


def scatter_sub(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Subtracts from rows of a variable."""
    return _SUB(ref, indices, updates, name)


def scatter_mul(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Multiplies rows of a variable."""
    return _MUL(ref, indices, updates, name)


def scatter_div(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Divides rows of a variable of floats."""
    return _DIV(ref, indices, updates, name)


def scatter_max(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Gives elements of rows of a variable the larger of their value and the update."""
    return _MAX(ref, indices, updates, name)


def scatter_min(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Gives elements of rows of a variable the smaller of their value and the update."""
    return _MIN(ref, indices, updates, name)


def scatter_nd_update(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Gives the places of a variable that the rows of `indices` name new values."""
    return _ND_UPDATE(ref, indices, updates, name)


def scatter_nd_add(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Adds to the places of a variable that the rows of `indices` name."""
    return _ND_ADD(ref, indices, updates, name)


def scatter_nd_sub(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Subtracts from the places of a variable that the rows of `indices` name."""
    return _ND_SUB(ref, indices, updates, name)
