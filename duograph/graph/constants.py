"""Constants, placeholders, and what passes a tensor on."""

from __future__ import annotations

from typing import Any

import numpy as np

from duograph import _core as core
from duograph.errors import DTypeError, GraphError, ShapeError
from duograph.tensors.creation import from_numpy

from .building import get_default_graph
from .definition import Definition, Operand, operation
from .dtypes import as_dtype, dtype_of_array, numpy_dtype, string
from .elements import Held, Operation, Slot, Tensor
from .shapes import PartialType, TensorShape

__all__ = [
    "constant",
    "convert_to_tensor",
    "group",
    "identity",
    "no_op",
    "placeholder",
    "placeholder_with_default",
    "stop_gradient",
]


def _held(value: Held) -> Any:
    return value.value


_CONST = Definition("Const", _held, evaluate=lambda run, node: node.attrs["value"].value, differentiable=False)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const", verify_shape: bool = False) -> Tensor:
    """A tensor with a fixed value.

    Args:
        value: a number, nested lists, an array or a duograph tensor. Python's ints become int32, its floats float32.
        shape: what the value is stretched or reshaped to; one number fills it.
        verify_shape: refuse a value of another shape.

    Errors:   DTypeError for what no array can be made of; ShapeError where value and shape do not fit

    >>> import duograph.graph as tf
    >>> tf.constant([1, 2, 3])
    <tf.Tensor 'Const:0' shape=(3,) dtype=int32>
    """
    graph = get_default_graph()
    if isinstance(value, Tensor):
        return value
    if dtype is not None and as_dtype(dtype) is not string and _is_text(value):
        raise DTypeError(
            f"constant: {value!r} is a string, asked is {as_dtype(dtype).name}", hint="tf.string_to_number, or float(…)"
        )
    held = (
        _text(value, dtype)
        if (dtype is not None and as_dtype(dtype) is string) or _is_text(value)
        else _array(value, dtype, shape, verify_shape)
    )
    dtype_, sizes = (string, tuple(np.shape(held))) if not isinstance(held, core.Tensor) else (held.dtype, tuple(held.shape))
    node = graph.add(_CONST, (), {"value": Held(held)}, [PartialType(dtype_, sizes)], name)
    return node.output


def _is_text(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (str, bytes)) or (isinstance(value, np.ndarray) and value.dtype.kind in "SU")


def _text(value: Any, dtype: Any) -> Any:
    return value if isinstance(value, (str, bytes)) else np.array(value, dtype=object)


def _array(value: Any, dtype: Any, shape: Any, verify_shape: bool) -> Any:
    if isinstance(value, core.Tensor):
        held = value if dtype is None else value.to(as_dtype(dtype))
        return held if shape is None else _shaped(held, shape, verify_shape)
    try:
        array = np.asarray(value)
        if array.dtype == object:
            raise ValueError
    except (ValueError, TypeError):
        raise DTypeError(
            f"constant: {value!r} is no number, array or nested list of numbers",
            hint="tensors are put together by tf.stack; nested lists must be of one length in each dimension",
        ) from None
    wanted = dtype_of_array(array, value) if dtype is None else as_dtype(dtype)
    if dtype is not None and array.dtype.kind == "f" and wanted.kind in "iub" and not np.all(np.mod(array, 1) == 0):
        raise DTypeError(f"constant: {value!r} does not fit {wanted.name}", hint="give it a float dtype, or round it")
    made = np.array(array, dtype=numpy_dtype(wanted))  # a copy: what the user writes later does not count
    held = from_numpy(made)
    if held.dtype is not wanted:
        held = held.to(wanted)
    return held if shape is None else _shaped(held, shape, verify_shape)


def _shaped(held: Any, shape: Any, verify_shape: bool) -> Any:
    sizes = TensorShape(shape).as_list()
    if held.numel() == 1 and not verify_shape:
        return held.reshape([1] * len(sizes)).expand(sizes).contiguous()
    count = 1
    for size in sizes:
        count *= size if size is not None else 0
    if count != held.numel() or (verify_shape and list(held.shape) != sizes):
        raise ShapeError(f"constant: the value has shape {tuple(held.shape)}, asked is {sizes}")
    return held.reshape(sizes)


def _not_fed(run: Any, node: Operation) -> Any:
    raise GraphError(
        f"placeholder {node.name!r} ({node.outputs[0].type!r}) got no value",
        [node.built_at],
        hint=f"feed it: session.run(…, feed_dict={{{node.name.rpartition('/')[2]}: value}})",
    )


_PLACEHOLDER = Definition("Placeholder", lambda: None, evaluate=_not_fed, differentiable=False)


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value each run is given by `feed_dict`.

    Args:
        shape: numbers, and None for sizes that a run decides; left out, the run decides the rank as well.

    Errors:   a run without a value for it raises GraphError; a value that does not fit, ShapeError or DTypeError

    >>> import duograph.graph as tf
    >>> tf.placeholder(tf.float32, [None, 784]).shape
    TensorShape([None, 784])
    """
    type = PartialType(as_dtype(dtype), TensorShape(shape).sizes)
    return get_default_graph().add(_PLACEHOLDER, (), {}, [type], name).output


def _default_of(run: Any, node: Operation) -> Any:
    return run.tensor(node.inputs[0])


_WITH_DEFAULT = Definition("PlaceholderWithDefault", lambda input: input, evaluate=_default_of)


def placeholder_with_default(input: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A placeholder that has the value of `input` in runs that feed nothing."""
    default = convert_to_tensor(input)
    sizes = TensorShape(shape)
    if not sizes.is_compatible_with(default.shape):
        raise ShapeError(f"placeholder_with_default: the default has shape {default.shape}, asked is {sizes}")
    type = PartialType(default.dtype, sizes.sizes)
    return default.graph.add(_WITH_DEFAULT, (default,), {"input": Slot(0)}, [type], name).output


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None) -> Tensor:
    """What a value is as a graph tensor: itself, the variable's value, or a constant.

    Errors:   DTypeError for a tensor of another dtype than asked
    """
    element = getattr(value, "_as_graph_element", None)
    value = value if element is None else element()
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype is not as_dtype(dtype):
            raise DTypeError(
                f"convert_to_tensor: {value.name} is {value.dtype.name}, asked is {as_dtype(dtype).name}", hint="tf.cast"
            )
        return value
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        from .arrays import stack

        made: Tensor = stack([convert_to_tensor(x, dtype) for x in value], name=name)
        return made
    return constant(value, dtype, name=name or "Const")


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(x) for x in value)
    return isinstance(value, Tensor) or hasattr(value, "_as_graph_element")


def _passed_on(run: Any, node: Operation) -> Any:
    value = run.value(node.inputs[0])
    return value.clone() if run.state.holds(value) else value


@operation("Identity", sizes=True, evaluate=_passed_on)
def identity(input: Operand, name: str | None = None) -> Any:
    """The tensor itself, as an operation of its own: under control dependencies it is read after them.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.identity(tf.constant(2.0)))
    np.float32(2.0)
    """
    return input


@operation("StopGradient", differentiable=False)
def stop_gradient(input: Operand, name: str | None = None) -> Any:
    """The tensor, through which no gradient goes.

    >>> import duograph.graph as tf
    >>> x = tf.constant(3.0)
    >>> tf.gradients(tf.stop_gradient(x) * x, x)[0]
    <tf.Tensor 'gradients/Gradient:0' shape=() dtype=float32>
    """
    return input.detach()


_GROUP = Definition("NoOp", lambda: None, evaluate=lambda run, node: None, differentiable=False)


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing: a place for control dependencies."""
    return get_default_graph().add(_GROUP, (), {}, [], name or "NoOp")


def group(*inputs: Any, name: str | None = None) -> Operation:
    """One operation that runs all of these: tensors, operations, and lists of them.

    >>> import duograph.graph as tf
    >>> both = tf.group(tf.no_op(), tf.constant(1.0))
    """
    flat: list[Any] = []
    for x in inputs:
        flat.extend(x) if isinstance(x, (list, tuple)) else flat.append(x)
    graph = next((x.graph for x in flat if isinstance(x, (Tensor, Operation))), None) or get_default_graph()
    with graph.as_default(), graph.control_dependencies([x for x in flat if x is not None]):
        return no_op(name or "group_deps")
