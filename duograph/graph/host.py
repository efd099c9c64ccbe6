"""Calls into Python while a graph runs: `Print`, `Assert`, `check_numerics`, `py_func`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, CaptureError, DomainError, GraphError
from duograph.tensors.creation import from_numpy

from .building import get_default_graph
from .constants import convert_to_tensor
from .definition import Definition
from .dtypes import as_dtype, numpy_dtype
from .elements import Operation, Slot, Tensor
from .resolving import Run, as_tensor
from .shapes import PartialType

__all__ = ["Assert", "Print", "check_numerics", "numpy_function", "print", "py_func", "verify_tensor_all_finite"]


def _shown(value: Any, summarize: int | None) -> str:
    """A value as TensorFlow prints it: the first elements of each dimension."""
    array = np.asarray(value.detach().numpy() if isinstance(value, core.Tensor) else value)
    if array.ndim == 0:
        return str(array[()])
    count = 3 if summarize is None else array.size if summarize < 0 else summarize
    flat = array.reshape(-1)
    return "[" + " ".join(str(x) for x in flat[:count]) + ("...]" if array.size > count else "]")


def _printed(run: Run, node: Operation) -> Any:
    attrs = node.attrs
    values = [run.value(x) for x in node.inputs[1:]]
    data = [values[x.index - 1] if isinstance(x, Slot) else x for x in attrs["data"]]
    message, summarize, ending, stream = attrs["message"], attrs["summarize"], attrs["end"], attrs["stream"]
    left = [attrs["first_n"]]

    def write(*values: Any) -> None:
        if left[0] == 0:
            return
        left[0] -= 1
        found = iter(values)
        text = "".join(x if isinstance(x, str) else _shown(next(found), summarize) for x in data)
        (sys.stderr if stream == "stderr" else sys.stdout).write(f"{message}{text}{ending}")

    dg.host_callback(write)(*[as_tensor(x) for x in data if not isinstance(x, str)])
    return run.value(node.inputs[0])


_PRINT = Definition("Print", lambda: None, evaluate=_printed, stateful=True)


def Print(
    input_: Any,
    data: Sequence[Any],
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`input_`, whose evaluation prints `data` to the standard error stream.

    Args:
        message: what stands in front.
        first_n: print so many times only.
        summarize: so many elements of each tensor; by default 3.
    """
    passed = convert_to_tensor(input_)
    with passed.graph.as_default():
        parts: list[Any] = []
        inputs = [passed]
        for value in data:
            if isinstance(value, str):
                parts.append(f"[{value}]")
                continue
            inputs.append(convert_to_tensor(value))
            parts.append(Slot(len(inputs) - 1))
        attrs = {
            "input": Slot(0),
            "data": parts,
            "message": message or "",
            "first_n": -1 if first_n is None else first_n,
            "summarize": summarize,
            "end": "\n",
            "stream": "stderr",
        }
        node: Operation = passed.graph.add(_PRINT, tuple(inputs), attrs, [passed.type], name)
        return node.output


def print(
    *inputs: Any, output_stream: Any = None, summarize: int = 3, sep: str = " ", end: str = "\n", name: str | None = None
) -> Operation:
    """An operation that prints tensors and texts when it runs: put it under `tf.control_dependencies`, or fetch it."""
    parts: list[Any] = []
    found: list[Tensor] = []
    for i, value in enumerate(inputs):
        if i:
            parts.append(sep)
        if isinstance(value, str):
            parts.append(value)
            continue
        found.append(convert_to_tensor(value))
        parts.append(Slot(len(found)))
    graph = found[0].graph if found else get_default_graph()
    with graph.as_default():
        first = found[0] if found else convert_to_tensor(0)
        attrs = {"input": Slot(0), "data": parts, "message": "", "first_n": -1, "summarize": summarize, "end": end}
        attrs["stream"] = "stdout" if output_stream is sys.stdout or output_stream == "stdout" else "stderr"
        made: Operation = graph.add(_PRINT, (first, *found), attrs, [first.type], name or "PrintV2")
        return made


def _asserted(run: Run, node: Operation) -> Any:
    attrs = node.attrs
    condition = run.tensor(node.inputs[0])
    values = [run.tensor(x) for x in node.inputs[1:]]
    data, summarize = attrs["data"], attrs["summarize"]

    def check(holds: Any, *values: Any) -> None:
        if not bool(holds.all()):
            found = iter(values)
            texts = [x if isinstance(x, str) else _shown(next(found), summarize) for x in data]
            raise GraphError(f"assertion failed: {' '.join(texts)}", [node.built_at], location=None)

    dg.host_callback(check)(condition, *values)


_ASSERT = Definition("Assert", lambda: None, evaluate=_asserted, differentiable=False, stateful=True)


def Assert(condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None) -> Operation:
    """An operation that ends the run with an error, which shows `data`, unless the condition holds.

    Errors:   a run where it does not hold raises GraphError with the values
    """
    test = convert_to_tensor(condition)
    with test.graph.as_default():
        parts: list[Any] = []
        inputs = [test]
        for value in data if isinstance(data, (list, tuple)) else [data]:
            if isinstance(value, str):
                parts.append(value)
                continue
            inputs.append(convert_to_tensor(value))
            parts.append(Slot(len(inputs) - 1))
        attrs = {"condition": Slot(0), "data": parts, "summarize": summarize}
        made: Operation = test.graph.add(_ASSERT, tuple(inputs), attrs, (), name)
        return made


def py_check(value: Tensor, holds: Callable[[Any], bool], words: str) -> Operation:
    """An operation that ends the run with an error unless a function of a number says that it holds."""
    made: Operation = value.graph.add(_PY_CHECK, (value,), {"value": Slot(0), "holds": holds, "words": words}, ())
    return made


def _py_checked(run: Run, node: Operation) -> Any:
    holds, words = node.attrs["holds"], node.attrs["words"]

    def check(value: Any) -> None:
        if not holds(value.item()):
            raise GraphError(f"{words} {value.item()}", [node.built_at], location=None)

    dg.host_callback(check)(run.tensor(node.inputs[0]))


_PY_CHECK = Definition("PyCheck", lambda: None, evaluate=_py_checked, differentiable=False, stateful=True)


def _checked(run: Run, node: Operation) -> Any:
    value, message = run.tensor(node.inputs[0]), node.attrs["message"]

    def check(finite: Any, nan: Any) -> None:
        if not bool(finite):
            kind = "NaN" if bool(nan) else "Inf"
            raise DomainError(f"check_numerics: {message}: the tensor has {kind} values", [node.built_at], location=None)

    plain = value.detach()
    dg.host_callback(check)(dg.isfinite(plain).all(), dg.isnan(plain).any())
    return value


_CHECK = Definition("CheckNumerics", lambda: None, evaluate=_checked, stateful=True)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """The tensor; a run in which it has a NaN or an infinity ends with a DomainError that says so."""
    x = convert_to_tensor(tensor)
    made: Operation = x.graph.add(_CHECK, (x,), {"tensor": Slot(0), "message": message}, [x.type], name)
    return made.output


def verify_tensor_all_finite(t: Any, msg: str, name: str | None = None) -> Tensor:
    """The same."""
    return check_numerics(t, msg, name)


# ---- functions of NumPy arrays


def _called(run: Run, node: Operation) -> Any:
    """A call inside of a program: the shapes of its results are known."""
    function, types = node.attrs["function"], [x.type for x in node.outputs]
    if not core.tracing():
        return [from_numpy(x) for x in run_function(node, [run.tensor(x).detach().numpy() for x in node.inputs])]
    if any(t.sizes is None or None in t.sizes for t in types):
        raise CaptureError(
            f"py_func: the shape of what {_title(function)} gives is unknown, and in a branch or loop it has to be known",
            [node.built_at],
            hint="say it where the operation is built: y.set_shape([…])",
            location=None,
        )
    like = tuple(dg.empty(*t.sizes, dtype=t.dtype) if t.sizes else dg.empty((), dtype=t.dtype) for t in types)  # type: ignore[arg-type]
    call = dg.host_callback(
        lambda *values: tuple(dg.from_numpy(x) for x in run_function(node, [v.numpy() for v in values])), like=like
    )
    return list(call(*[run.tensor(x).detach() for x in node.inputs]))


def _title(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def run_function(node: Operation, arrays: Sequence[Any]) -> list[Any]:
    """What the function of a `py_func` gives for arrays, as arrays of the dtypes it promised."""
    function = node.attrs["function"]
    results = function(*[x if x.ndim else x[()] for x in map(np.asarray, arrays)])
    found = list(results) if isinstance(results, (list, tuple)) else [results]
    if len(found) != len(node.outputs):
        raise GraphError(
            f"py_func: {_title(function)} gave {len(found)} results, {len(node.outputs)} were promised",
            [node.built_at],
            location=None,
        )
    made = []
    for value, output in zip(found, node.outputs):
        array = np.array(value)
        wanted = np.dtype(numpy_dtype(output.dtype))
        if array.dtype != wanted:
            if array.dtype.kind != wanted.kind or isinstance(value, (np.ndarray, np.generic)):
                raise GraphError(
                    f"py_func: {_title(function)} gave {array.dtype}, {wanted} was promised",
                    [node.built_at],
                    hint=f"return np.asarray(…, np.{wanted})",
                    location=None,
                )
            array = array.astype(wanted)
        if not output.shape.is_compatible_with(array.shape):
            raise GraphError(
                f"py_func: {_title(function)} gave shape {array.shape}, promised was {output.shape}",
                [node.built_at],
                location=None,
            )
        made.append(array)
    return made


_PY_FUNC = Definition("PyFunc", lambda: None, evaluate=_called, differentiable=False, stateful=True)


def py_func(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: str | None = None) -> Any:
    """What a Python function of NumPy arrays gives: it is called at each run.

    Args:
        inp: the tensors whose values it gets.
        Tout: the dtype of its result, or a list of dtypes.

    The shapes of results are known when it has run; in branches and loops `set_shape` says them beforehand. No gradient goes
    through it.

    Errors:   a run raises what the function raises; GraphError for results of other dtypes or another number

    >>> import duograph.graph as tf
    >>> import numpy as np
    >>> with tf.Session() as session:
    ...     session.run(tf.py_func(np.sort, [tf.constant([3.0, 1.0, 2.0])], tf.float32))
    array([1., 2., 3.], dtype=float32)
    """
    if not callable(func):
        raise ArgumentError(f"py_func: {func!r} is no function")
    several = isinstance(Tout, (list, tuple))
    inputs = tuple(convert_to_tensor(x) for x in inp)
    graph = inputs[0].graph if inputs else get_default_graph()
    graph.check_inputs("py_func", inputs)
    types = [PartialType(as_dtype(t), None) for t in (Tout if several else [Tout])]
    attrs = {"inp": [Slot(i) for i in range(len(inputs))], "function": func}
    node: Operation = graph.add(_PY_FUNC, inputs, attrs, types, name)
    return list(node.outputs) if several else node.outputs[0]


def numpy_function(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, name: str | None = None) -> Any:
    """The same."""
    return py_func(func, inp, Tout, True, name)
