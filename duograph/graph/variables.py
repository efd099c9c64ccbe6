"""Variables: tensors whose values a session keeps from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from duograph import _core as core
from duograph.errors import ArgumentError, GraphError

from .building import Graph, GraphKeys, get_default_graph
from .constants import convert_to_tensor, group, no_op
from .definition import Definition
from .dtypes import as_dtype
from .elements import Operation, Slot, Tensor
from .shapes import PartialType

__all__ = [
    "Variable",
    "all_variables",
    "assign",
    "assign_add",
    "assign_sub",
    "global_variables",
    "global_variables_initializer",
    "initialize_all_variables",
    "local_variables",
    "local_variables_initializer",
    "moving_average_variables",
    "trainable_variables",
    "variables_initializer",
]


def _reached(run: Any, node: Operation) -> Any:
    return run.state.reached(node.outputs[0])


_VARIABLE = Definition("VariableV2", lambda: None, evaluate=_reached, stateful=True)


class Variable(Tensor):
    """A tensor whose value a session keeps. It can be used wherever a tensor can; `assign` and optimizers change it.

    Args:
        initial_value: a tensor, an array or a number, or a function that gives one: its value after `initializer` has run.
            A `duograph.nn.Parameter` is shared: the variable is that parameter, in all sessions, with the value it has.
        trainable: whether optimizers change it.
        collections: names of the collections it goes to; by default GraphKeys.GLOBAL_VARIABLES.
        name: of its operation.
        dtype: what the value is converted to.
        constraint: a function of the variable that optimizers apply after each step.

    Errors:   a run that reads it before it has a value raises UninitializedError, which names it

    >>> import duograph.graph as tf
    >>> count = tf.Variable(0, name="count")
    >>> with tf.Session() as session:
    ...     session.run(count.initializer)
    ...     session.run(count.assign_add(2))
    np.int32(2)
    """

    __slots__ = ("_initializer", "constraint", "initial_value", "save_slice_info", "shared", "trainable")

    _initializer: Operation | None
    constraint: Any
    initial_value: Any
    shared: Any
    trainable: bool

    def __new__(
        cls,
        initial_value: Any = None,
        trainable: bool = True,
        collections: Sequence[str] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Any = None,
        **ignored: Any,
    ) -> Variable:
        made = make_variable(initial_value, trainable, collections, validate_shape, name, dtype)
        made.constraint = constraint
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """All is done by `__new__`."""

    @classmethod
    def _output(cls, type: PartialType, node: Operation, index: int) -> Variable:
        made: Variable = object.__new__(cls)
        Tensor.__init__(made, type, node, index)
        made.shared = made.initial_value = made._initializer = None
        made.trainable = False
        made.constraint = None
        return made

    @property
    def initializer(self) -> Operation:
        """The operation that gives it its initial value."""
        assert self._initializer is not None
        return self._initializer

    def initialized_value(self) -> Tensor:
        """The initial value, for the initial values of others: given in the right order."""
        with self.graph.as_default(), self.graph.control_dependencies([self.initializer]):
            return read(self)

    def value(self) -> Tensor:
        """The variable as a tensor."""
        return self

    def read_value(self) -> Tensor:
        """The variable's value at this place of the program, for instance under control dependencies."""
        return read(self)

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Tensor:
        """The operation that gives it a value; as a tensor, that value."""
        return assign(self, value, name=name)

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Tensor:
        """The operation that adds to it; as a tensor, the sum."""
        return assign_add(self, delta, name=name)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Tensor:
        """The operation that subtracts from it; as a tensor, the difference."""
        return assign_sub(self, delta, name=name)

    def count_up_to(self, limit: int) -> Tensor:
        """The operation that adds one while it is less than `limit`; as a tensor, its value before."""
        from .variable_queries import count_up_to

        return count_up_to(self, limit)

    def eval(self, session: Any = None, feed_dict: Any = None) -> Any:  # type: ignore[override]
        """Its value as a NumPy array, in a session: by default the innermost `with tf.Session()`."""
        session, feed_dict = (feed_dict, session) if isinstance(session, dict) else (session, feed_dict)
        return super().eval(feed_dict, session)

    def load(self, value: Any, session: Any = None) -> None:
        """Gives it a value in a session, without adding to the graph."""
        from .session import session_for

        session_for(session, self.graph).state.write(self, core_tensor(value, self.dtype))

    def parameter(self, session: Any = None) -> Any:
        """The `nn.Parameter` that holds its value in a session: the same memory. UninitializedError without a value."""
        from .session import session_for

        return session_for(session, self.graph).state.read(self)

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


def core_tensor(value: Any, dtype: Any) -> Any:
    """An array or number as a duograph tensor of a dtype."""
    from duograph.tensors.creation import from_numpy

    from .dtypes import numpy_dtype

    if isinstance(value, core.Tensor):
        return value
    made = from_numpy(np.array(value, dtype=numpy_dtype(dtype)))
    return made if made.dtype is dtype else made.to(dtype)


def make_variable(
    initial_value: Any,
    trainable: bool = True,
    collections: Sequence[str] | None = None,
    validate_shape: bool = True,
    name: str | None = None,
    dtype: Any = None,
) -> Variable:
    """A variable with its initializer."""
    graph = get_default_graph()
    if initial_value is None:
        raise ArgumentError(
            "Variable: initial_value is missing", hint="a tensor, an array, a number or a function that gives one"
        )
    is_parameter = isinstance(initial_value, core.Tensor) and type(initial_value) is not core.Tensor
    if is_parameter and id(initial_value) in graph.shared:
        known: Variable = graph.shared[id(initial_value)]
        return known
    with graph.outermost():
        if is_parameter:
            variable = _of_parameter(graph, initial_value, name or "Variable")
        else:
            variable = _of_value(graph, initial_value, name or "Variable", dtype, validate_shape)
    variable.trainable = trainable
    names = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in names:
        names.append(GraphKeys.TRAINABLE_VARIABLES)
    graph.add_to_collections(names, variable)
    return variable


def _of_parameter(graph: Graph, parameter: Any, name: str) -> Variable:
    """The variable that is a Parameter, which has its value already."""
    variable = _add(graph, PartialType(parameter.dtype, tuple(parameter.shape)), name)
    variable.shared = parameter
    graph.shared[id(parameter)] = variable
    with graph.name_scope(f"{variable.node.name}/"):
        variable._initializer = no_op("Assign")
    return variable


def _of_value(graph: Graph, value: Any, name: str, dtype: Any, validate_shape: bool) -> Variable:
    """The variable whose initializer assigns a value."""
    full = name[:-1] if name.endswith("/") else graph.unique_name(name)
    with graph.name_scope(f"{full}/Initializer/"):
        initial = _initial(value() if callable(value) and not isinstance(value, Tensor) else value, dtype)
    variable = _add(graph, PartialType(initial.dtype, initial.type.sizes if validate_shape else None), full + "/")
    variable.initial_value = initial
    with graph.name_scope(f"{full}/"):
        variable._initializer = assign(variable, initial, validate_shape, name="Assign").op
    return variable


def _initial(value: Any, dtype: Any) -> Tensor:
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(value, Tensor) and wanted is not None and value.dtype is not wanted:
        from .arrays import cast

        value = cast(value, wanted)
    return convert_to_tensor(value, wanted, name="initial_value")


def _add(graph: Graph, type: PartialType, name: str) -> Variable:
    made: Any = graph.add(_VARIABLE, (), {}, [type], name, kind=Variable._output, outside=True).output
    variable: Variable = made
    return variable


def variable_of_initializer(graph: Graph, type: PartialType, name: str) -> Variable:
    """A variable in no collection, whose initializer is set later."""
    return _add(graph, type, name)


# ---- operations on variables


def variable_of(type: str, x: Any) -> Any:
    """The variable that an operation changes, given as such or as what another gave. GraphError if it is none."""
    while isinstance(x, Tensor) and not isinstance(x, Variable) and x.node.op.startswith(("Assign", "Scatter")):
        x = x.node.inputs[0]
    if not isinstance(x, Variable):
        raise GraphError(f"{type}: {x!r} is no variable", hint="only a tf.Variable keeps what is assigned to it")
    return x


def _written(run: Any, node: Operation) -> Any:
    variable, value = node.inputs[0], run.tensor(node.inputs[1])
    return run.state.write(variable, value, node.attrs["validate_shape"])


_ASSIGN = Definition("Assign", lambda: None, evaluate=_written, differentiable=False, stateful=True)


def assign(ref: Any, value: Any, validate_shape: bool = True, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Gives a variable a value. As a tensor: the variable's value behind it.

    Errors:   GraphError if `ref` is no variable; ShapeError, DTypeError for a value that does not fit
    """
    ref = variable_of("assign", ref)
    with ref.graph.as_default():
        value = convert_to_tensor(value) if isinstance(value, Tensor) else convert_to_tensor(value, ref.dtype)
        ref.graph.check_inputs("Assign", (ref, value))
        from .state import check_static

        check_static(ref, value, validate_shape)
        attrs = {"ref": Slot(0), "value": Slot(1), "validate_shape": validate_shape}
        made: Operation = ref.graph.add(_ASSIGN, (ref, value), attrs, [ref.type], name or "Assign")
        return made.output


def _changed(run: Any, node: Operation) -> Any:
    variable, delta = node.inputs[0], run.tensor(node.inputs[1])
    held = run.state.read(variable)
    from duograph.autograd import no_grad

    with no_grad():
        value = held + delta if node.op == "AssignAdd" else held - delta
        return run.state.write(variable, value)


_ASSIGN_ADD = Definition("AssignAdd", lambda: None, evaluate=_changed, differentiable=False, stateful=True)
_ASSIGN_SUB = Definition("AssignSub", lambda: None, evaluate=_changed, differentiable=False, stateful=True)


def _assign_changed(definition: Definition, ref: Any, value: Any, name: str | None) -> Tensor:
    ref = variable_of(definition.type, ref)
    with ref.graph.as_default():
        value = convert_to_tensor(value) if isinstance(value, Tensor) else convert_to_tensor(value, ref.dtype)
        ref.graph.check_inputs(definition.type, (ref, value))
        made: Operation = ref.graph.add(definition, (ref, value), {"ref": Slot(0), "value": Slot(1)}, [ref.type], name)
        return made.output


def assign_add(ref: Any, value: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Adds to a variable. As a tensor: the sum."""
    return _assign_changed(_ASSIGN_ADD, ref, value, name)


def assign_sub(ref: Any, value: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Subtracts from a variable. As a tensor: the difference."""
    return _assign_changed(_ASSIGN_SUB, ref, value, name)


def _read(run: Any, node: Operation) -> Any:
    return run.tensor(node.inputs[0]).clone()


_READ = Definition("ReadVariableOp", lambda ref: ref, evaluate=_read)


def read(variable: Variable) -> Tensor:
    """A variable's value at this place of the program."""
    return variable.graph.add(_READ, (variable,), {"ref": Slot(0)}, [variable.type], "read").output


# ---- collections of variables


def global_variables(scope: str | None = None) -> list[Variable]:
    """All variables that are saved and initialised."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Variable]:
    """Variables that belong to the process and are not saved."""
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The variables that optimizers change."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    """The variables that keep moving averages."""
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Variable], name: str = "init") -> Operation:
    """The operation that gives these variables their initial values."""
    return group(*[v.initializer for v in var_list], name=name)


def global_variables_initializer() -> Operation:
    """The operation that gives all variables their initial values."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """The operation that gives local variables their initial values."""
    return variables_initializer(local_variables(), "init_local")


initialize_all_variables = global_variables_initializer
all_variables = global_variables
