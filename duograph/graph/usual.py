"""Small functions that programs use here and there: questions about tensors, templates, histograms."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError

from .building import GraphKeys, get_default_graph
from .constants import convert_to_tensor, group
from .control_flow import cond
from .definition import Operand, operation
from .dtypes import as_dtype
from .elements import Operation, Tensor
from .functional import map_fn
from .gathering import tensor_scatter_add, tensor_scatter_sub, tensor_scatter_update
from .host import check_numerics, py_func
from .scopes import control_dependencies, name_scope
from .shapes import TensorShape
from .variable_scopes import variable_scope
from .variables import Variable, local_variables_initializer, variables_initializer

__all__ = [
    "VERSION", "add_check_numerics_ops", "assert_proper_iterable", "assert_same_float_dtype", "assert_scalar", "container",
    "dimension_at_index", "dimension_value", "ensure_shape", "get_static_value", "histogram_fixed_width",
    "histogram_fixed_width_bins", "initialize_all_tables", "initialize_local_variables", "initialize_variables",
    "is_non_decreasing", "is_numeric_tensor", "is_strictly_increasing", "is_tensor", "make_template", "model_variables",
    "op_scope", "py_function", "switch_case", "tables_initializer", "tensor_scatter_nd_add", "tensor_scatter_nd_sub",
    "tensor_scatter_nd_update", "timestamp", "variable_op_scope", "vectorized_map",
]  # fmt: skip

VERSION = "1.15.0"  # whose names these are
tensor_scatter_nd_add, tensor_scatter_nd_sub = tensor_scatter_add, tensor_scatter_sub
tensor_scatter_nd_update = tensor_scatter_update
initialize_variables, initialize_local_variables = variables_initializer, local_variables_initializer
vectorized_map = map_fn


def is_tensor(x: Any) -> bool:
    """Whether it is a tensor of a graph, or a variable."""
    return isinstance(x, Tensor) or hasattr(x, "_as_graph_element")


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether it is a tensor of numbers."""
    return isinstance(tensor, Tensor) and tensor.dtype.kind in "iuf"


def get_static_value(tensor: Any, partial: bool = False) -> Any:
    """The array of a constant; None for what only a run knows."""
    if not isinstance(tensor, Tensor):
        return np.asarray(tensor)
    if tensor.node.op != "Const":
        return None
    value = tensor.node.attrs["value"].value
    return value.numpy() if isinstance(value, core.Tensor) else value


def dimension_value(dimension: Any) -> int | None:
    """The number of a size, or None."""
    found: int | None = getattr(dimension, "value", dimension)
    return found


def dimension_at_index(shape: Any, index: int) -> Any:
    """The size of a shape at a place."""
    return TensorShape(shape)[index]


@operation("EnsureShape")
def _ensured(x: Operand, shape: Any, name: str | None = None) -> Any:
    if len(shape) != x.ndim:
        raise ShapeError(f"ensure_shape: the tensor has {x.ndim} dimensions, not {len(shape)}")
    for have, want in zip(x.shape, shape):
        if isinstance(have, int) and want is not None and have != want:
            raise ShapeError(f"ensure_shape: the tensor has shape {tuple(x.shape)}, which does not fit {TensorShape(shape)}")
        if want is not None and not isinstance(have, int):
            dg.check_size(have == want, f"ensure_shape: a size is not {want}")
    return x.reshape([have if want is None else want for have, want in zip(x.shape, shape)])


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """The tensor, of which a run checks that it has a shape; what the shape says is known from here on.

    Errors:   ShapeError, while the graph is built or when it runs
    """
    x, wanted = convert_to_tensor(x), TensorShape(shape)
    if wanted.ndims is None:
        same: Tensor = x
        return same
    if not wanted.is_compatible_with(x.shape):
        raise ShapeError(f"ensure_shape: {x.name} has shape {x.shape}, which does not fit {wanted}", [x.node.built_at])
    made: Tensor = _ensured(x, tuple(wanted.as_list()), name=name)
    made.set_shape(x.shape.merge_with(wanted))
    return made


# ---- checks while the graph is built


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Tensor:
    """The tensor. ShapeError if it is known to be no scalar."""
    tensor = convert_to_tensor(tensor)
    if tensor.shape.ndims not in (0, None):
        text = f"{message or ''} {tensor.name} has shape {tensor.shape}: expected a scalar"
        raise ShapeError(text.strip(), [tensor.node.built_at])
    found: Tensor = tensor
    return found


def assert_proper_iterable(values: Any) -> None:
    """ArgumentError for what only looks as if one should go over it: tensors, arrays, texts."""
    if isinstance(values, (Tensor, np.ndarray, str, bytes)) or not hasattr(values, "__iter__"):
        raise ArgumentError(f"expected a list or another iterable of values, got {type(values).__name__}")


def assert_same_float_dtype(tensors: Sequence[Any] | None = None, dtype: Any = None) -> Any:
    """The dtype of floats that all have, float32 for none. DTypeError if they differ, or it is none of floats."""
    found = None if dtype is None else as_dtype(dtype)
    for tensor in tensors or ():
        if tensor is not None:
            found = found or tensor.dtype
            if tensor.dtype is not found:
                raise DTypeError(f"{tensor.name} is {tensor.dtype.name}, others are {found.name}", [tensor.node.built_at])
    found = found or core.float32
    if not found.is_floating_point:
        raise DTypeError(f"expected floats, got {found.name}")
    return found


def add_check_numerics_ops() -> Operation:
    """The operation that checks all floats of the graph that is built so far, but for branches and loops."""
    found = [x for node in get_default_graph().get_operations() if node.region is None for x in node.outputs]
    floats = [x for x in found if x.dtype.is_floating_point and x.node.op not in ("VariableV2", "Placeholder")]
    return group(*[check_numerics(x, x.name) for x in floats])


# ---- values


@operation("IsIncreasing", differentiable=False)
def _increasing(x: Operand, strictly: bool, name: str | None = None) -> Any:
    flat = x.reshape([-1])
    after, before = flat.narrow(0, 1, flat.shape[0] - 1), flat.narrow(0, 0, flat.shape[0] - 1)
    return dg.all(after > before if strictly else after >= before)


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether no element is less than the one before it."""
    made: Tensor = _increasing(convert_to_tensor(x), False, name=name)
    return made


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether each element is greater than the one before it."""
    made: Tensor = _increasing(convert_to_tensor(x), True, name=name)
    return made


def _bins(values: Any, value_range: Any, nbins: int, dtype: Any) -> Any:
    low, high = value_range[0], value_range[1]
    places = dg.floor((values - low) / (high - low) * float(nbins))
    return dg.clamp(places, 0.0, float(nbins - 1)).to(as_dtype(dtype))


@operation("HistogramFixedWidthBins", differentiable=False)
def histogram_fixed_width_bins(
    values: Operand, value_range: Operand, nbins: int = 100, dtype: Any = core.int32, name: str | None = None
) -> Any:
    """The number of the bin, of `nbins` equal ones in the range, that each value falls into; values outside, the nearest."""
    return _bins(values, value_range, nbins, dtype)


@operation("HistogramFixedWidth", differentiable=False)
def histogram_fixed_width(
    values: Operand, value_range: Operand, nbins: int = 100, dtype: Any = core.int32, name: str | None = None
) -> Any:
    """How many values fall into each of `nbins` equal bins in the range; values outside count to the nearest.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.histogram_fixed_width([-1.0, 0.0, 1.5, 2.0, 5.0, 15.0], [0.0, 5.0], nbins=5)).tolist()
    [2, 1, 1, 0, 2]
    """
    places = _bins(values, value_range, nbins, core.int64).reshape([-1])
    hits = places.unsqueeze(1) == dg.arange(nbins).unsqueeze(0)
    return hits.to(core.int64).sum(0).to(as_dtype(dtype))


@operation("Timestamp", differentiable=False, stateful=True, host=lambda **_: time.time())
def _timestamp(name: str | None = None) -> Any:
    return dg.zeros([], dtype=core.float64)


def timestamp(name: str | None = None) -> Tensor:
    """The seconds since 1970 when a run is done; it can be fetched, and nothing can be computed from it."""
    made: Tensor = _timestamp(name=name)
    return made


# ---- functions


def switch_case(branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: str = "switch_case") -> Any:
    """What the function of this number gives; for numbers that have none `default`, or the last function.

    >>> import duograph.graph as tf
    >>> y = tf.switch_case(tf.constant(1), [lambda: tf.constant(10), lambda: tf.constant(20)])
    >>> with tf.Session() as session:
    ...     session.run(y)
    np.int32(20)
    """
    pairs = list(branch_fns.items() if isinstance(branch_fns, dict) else enumerate(branch_fns))
    pairs = [(i, f) if callable(f) else f for i, f in pairs]
    if not pairs:
        raise ArgumentError("switch_case: there are no functions")
    from .binary import equal

    index = convert_to_tensor(branch_index)
    chosen = default or max(pairs)[1]
    with index.graph.as_default(), name_scope(name):
        for number, function in reversed(pairs):
            chosen = lambda n=number, f=function, rest=chosen: cond(equal(index, n), f, rest)  # noqa: E731
        return chosen()


def py_function(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, name: str | None = None) -> Any:
    """What a Python function of duograph tensors gives: it is called at each run. No gradient goes through it.

    Args:
        inp, Tout: as `py_func` takes them.
    """

    def call(*arrays: Any) -> Any:
        made = func(*[dg.tensor(x) for x in arrays])
        several = isinstance(made, (list, tuple))
        found = [x.numpy() if isinstance(x, core.Tensor) else np.asarray(x) for x in (made if several else [made])]
        return found if several else found[0]

    return py_func(call, inp, Tout, True, name)


def make_template(
    name_: str, func_: Callable[..., Any], create_scope_now_: bool = False, unique_name_: str | None = None, **kwargs: Any
) -> Callable[..., Any]:
    """The function with its variables: the first call makes them, each further one uses them again.

    >>> import duograph.graph as tf
    >>> scale = tf.make_template("scale", lambda x: x * tf.get_variable("w", initializer=2.0))
    >>> first, second = scale(tf.constant(1.0)), scale(tf.constant(3.0))
    >>> [v.op.name for v in tf.global_variables()]
    ['scale/w']
    """
    scopes: list[Any] = []

    @functools.wraps(func_)
    def call(*args: Any, **options: Any) -> Any:
        if scopes:
            with variable_scope(scopes[0], reuse=True):
                return func_(*args, **kwargs, **options)
        with variable_scope(unique_name_, default_name=name_) as scope:
            scopes.append(scope)
            return func_(*args, **kwargs, **options)

    return call


# ---- names that have little to do


@contextmanager
def container(container_name: str) -> Iterator[str]:
    """Nothing: each session keeps its own variables."""
    yield container_name


def op_scope(values: Any, name: str | None, default_name: str | None = None) -> Any:
    """`name_scope`, with its arguments in another order."""
    return name_scope(name, default_name, values)


def variable_op_scope(values: Any, name_or_scope: Any, default_name: str | None = None, **options: Any) -> Any:
    """`variable_scope`, with its arguments in another order."""
    return variable_scope(name_or_scope, default_name, values, **options)


def model_variables(scope: str | None = None) -> list[Variable]:
    """The variables in GraphKeys.MODEL_VARIABLES."""
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def tables_initializer(name: str = "init_all_tables") -> Operation:
    """The operation that fills tables: there are none, so it does nothing."""
    with control_dependencies(get_default_graph().get_collection("table_initializer")):
        return group(name=name)


initialize_all_tables = tables_initializer
