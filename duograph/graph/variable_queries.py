"""What can be asked of variables when a graph runs: whether they have values; counting up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

import duograph as dg
from duograph import _core as core
from duograph.autograd import no_grad
from duograph.errors import BoundsError, DTypeError, GraphError, UninitializedError

from .definition import Definition, Operands
from .dtypes import string
from .elements import Operation, Slot, Tensor
from .resolving import Run
from .shapes import PartialType
from .variables import Variable, global_variables, local_variables

__all__ = [
    "assert_variables_initialized",
    "count_up_to",
    "is_variable_initialized",
    "report_uninitialized_variables",
]


def _has_value(run: Run, node: Operation) -> Any:
    return dg.tensor(run.state.has(node.inputs[0]))


_INITIALIZED = Definition("IsVariableInitialized", lambda: None, evaluate=_has_value, differentiable=False)


def is_variable_initialized(variable: Variable) -> Tensor:
    """Whether a variable has a value in the session that runs this, as a bool tensor.

    >>> import duograph.graph as tf
    >>> w = tf.Variable(1.0)
    >>> has = tf.is_variable_initialized(w)
    >>> with tf.Session() as session:
    ...     session.run(has)
    ...     session.run(w.initializer)
    ...     session.run(has)
    np.False_
    np.True_
    """
    _check("is_variable_initialized", variable)
    made = variable.graph.add(_INITIALIZED, (variable,), {"ref": Slot(0)}, [PartialType(core.bool, ())])
    return made.output


def _check(function: str, variable: Any) -> None:
    if not isinstance(variable, Variable):
        raise GraphError(f"{function}: {variable!r} is no variable")


def _reported(inputs: Operands, names: Any) -> None:
    """The parameters of a report."""


_REPORT = Definition(
    "ReportUninitializedVariables",
    _reported,
    infer=lambda *types, **attrs: PartialType(string, (None,)),
    host=lambda inputs, names: np.array([name for name, has in zip(names, inputs) if not has], dtype=object),
    differentiable=False,
)


def report_uninitialized_variables(
    var_list: Sequence[Variable] | None = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """The names, as bytes, of the variables that have no value in the session that runs this; by default of all there are.

    Differs: other operations cannot read it: fetch it.

    >>> import duograph.graph as tf
    >>> missing = tf.report_uninitialized_variables([tf.Variable(1.0, name="missing")])
    >>> with tf.Session() as session:
    ...     session.run(missing)
    array([b'missing'], dtype=object)
    """
    found = [*global_variables(), *local_variables()] if var_list is None else list(var_list)
    has = [is_variable_initialized(v) for v in found]
    made: Tensor = _REPORT(inputs=has, names=[v.node.name.encode() for v in found], name=name)
    return made


def _asserted(run: Run, node: Operation) -> Any:
    missing = [x for x in node.inputs if not run.state.has(x)]
    if missing:
        raise UninitializedError(
            f"these variables have no value yet: {', '.join(repr(x.node.name) for x in missing)}",
            [x.node.built_at for x in missing],
            hint="run tf.global_variables_initializer() in this session, or restore a checkpoint",
        )


_ASSERT = Definition("AssertVariablesInitialized", lambda: None, evaluate=_asserted, differentiable=False, stateful=True)


def assert_variables_initialized(var_list: Sequence[Variable] | None = None) -> Operation | None:
    """An operation that ends the run with an error unless all variables have values; None if there are none.

    Errors:   a run without all of them raises UninitializedError, which names those that lack one
    """
    found = [*global_variables(), *local_variables()] if var_list is None else list(var_list)
    for variable in found:
        _check("assert_variables_initialized", variable)
    if not found:
        return None
    return found[0].graph.add(_ASSERT, tuple(found), {}, ())


# ---- counting


def _counted(run: Run, node: Operation) -> Any:
    variable, limit = node.inputs[0], node.attrs["limit"]
    held = run.state.read(variable)  # type: ignore[arg-type]

    def check(below: Any) -> None:
        if not bool(below):
            raise BoundsError(f"count_up_to: {variable.node.name!r} has reached {limit}", [node.built_at], location=None)

    with no_grad():
        before = held.clone()
        dg.host_callback(check)(before < limit)
        run.state.write(variable, before + 1)  # type: ignore[arg-type]
    return before


_COUNT = Definition("CountUpTo", lambda: None, evaluate=_counted, differentiable=False, stateful=True)


def count_up_to(ref: Variable, limit: int, name: str | None = None) -> Tensor:
    """Adds one to a variable that is less than `limit`. As a tensor: its value before.

    Errors:   a run in which it has reached the limit raises BoundsError, and leaves it as it is

    >>> import duograph.graph as tf
    >>> turn = tf.Variable(0)
    >>> count = turn.count_up_to(2)
    >>> with tf.Session() as session:
    ...     session.run(turn.initializer)
    ...     session.run(count)
    ...     session.run(count)
    np.int32(0)
    np.int32(1)
    """
    _check("count_up_to", ref)
    if ref.dtype.kind != "i":
        raise DTypeError(f"count_up_to: variable {ref.node.name!r} is {ref.dtype.name}, not an integer", [ref.node.built_at])
    return ref.graph.add(_COUNT, (ref,), {"ref": Slot(0), "limit": int(limit)}, [ref.type], name).output


# ---- what Python's statements cannot do


def _refused(sign: str, way: str) -> Callable[[Variable, Any], NoReturn]:
    def refuse(variable: Variable, other: Any) -> NoReturn:
        raise GraphError(
            f"variable {variable.node.name!r}: {sign}= would make a tensor, and leave the variable as it is",
            [variable.node.built_at],
            hint=f"{way}, which a session has to run; for a tensor write v = v {sign} x",
        )

    return refuse


def _install() -> None:
    ways = {"add": ("+", "use variable.assign_add(x)"), "sub": ("-", "use variable.assign_sub(x)")}
    signs = {"mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@"}
    ways |= {name: (sign, f"use variable.assign(variable {sign} x)") for name, sign in signs.items()}
    for name, (sign, way) in ways.items():
        setattr(Variable, f"__i{name}__", _refused(sign, way))


_install()
