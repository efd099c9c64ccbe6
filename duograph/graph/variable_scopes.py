"""Variables that are found by name: `variable_scope` and `get_variable`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, GraphError, ShapeError

from .building import Graph, GraphKeys, get_default_graph
from .dtypes import as_dtype, float32
from .elements import Tensor
from .scopes import graph_of, outside_regions
from .shapes import TensorShape
from .variables import Variable

__all__ = [
    "AUTO_REUSE",
    "VariableScope",
    "get_local_variable",
    "get_variable",
    "get_variable_scope",
    "no_regularizer",
    "variable_scope",
]


class _AutoReuse:
    """Variables are taken if they are there, and made if they are not."""

    def __repr__(self) -> str:
        return "tf.AUTO_REUSE"


AUTO_REUSE = _AutoReuse()
_INHERITED = ("initializer", "regularizer", "dtype", "constraint", "custom_getter", "caching_device", "use_resource")


def no_regularizer(_: Any) -> None:
    """A regularizer that gives nothing: for variables that a scope's regularizer is not to reach."""


class VariableScope:
    """What `with tf.variable_scope(…) as scope` gives: a prefix of names and what `get_variable` does inside.

    name                 the prefix, without "/" behind it
    original_name_scope  the scope of names of operations it was opened with
    reuse                False, True or AUTO_REUSE
    """

    def __init__(self, reuse: Any, name: str = "", name_scope: str = "", original_name_scope: str = "", **defaults: Any) -> None:
        self.name = name
        self.reuse = reuse
        self._name_scope = name_scope
        self.original_name_scope = original_name_scope
        self.initializer: Any = None
        self.regularizer: Any = None
        self.constraint: Any = None
        self.custom_getter: Any = None
        self.caching_device: Any = None
        self.use_resource: Any = None
        self.dtype: Any = float32
        self.__dict__.update(defaults)

    def derived(self, reuse: Any, name: str, original_name_scope: str, **changed: Any) -> VariableScope:
        """A scope with the same defaults, but for those that are given."""
        defaults = {key: getattr(self, key) for key in _INHERITED} | {k: v for k, v in changed.items() if v is not None}
        return VariableScope(reuse, name, original_name_scope.rstrip("/"), original_name_scope, **defaults)

    def reuse_variables(self) -> None:
        """From here on variables of this scope are taken, not made."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Sets the initializer of variables that name none."""
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        """Sets the regularizer of variables that name none."""
        self.regularizer = regularizer

    def set_dtype(self, dtype: Any) -> None:
        """Sets the dtype of variables that name none."""
        self.dtype = as_dtype(dtype)

    def set_custom_getter(self, custom_getter: Any) -> None:
        """Sets the function that stands before `get_variable`."""
        self.custom_getter = custom_getter

    def get_collection(self, name: str) -> list[Any]:
        """What of a collection lies in this scope."""
        return get_default_graph().get_collection(name, f"{self.name}/" if self.name else None)

    def global_variables(self) -> list[Variable]:
        """The variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Variable]:
        """The local variables of this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Variable]:
        """The variables of this scope that optimizers change."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def get_variable(self, name: str, **options: Any) -> Variable:
        """`tf.get_variable` in this scope."""
        with _entered(get_default_graph(), self):
            return get_variable(name, **options)

    def __repr__(self) -> str:
        return f"<tf.VariableScope {self.name!r} reuse={self.reuse}>"


def get_variable_scope() -> VariableScope:
    """The variable scope that is open."""
    graph = get_default_graph()
    if graph._scopes.variables is None:
        graph._scopes.variables = VariableScope(False)
    found: VariableScope = graph._scopes.variables
    return found


@contextmanager
def _entered(graph: Graph, scope: VariableScope) -> Iterator[None]:
    old = graph._scopes.variables
    graph._scopes.variables = scope
    try:
        yield
    finally:
        graph._scopes.variables = old


class variable_scope:
    """Inside, `get_variable` puts this before names of variables; operations are in a scope of names that is called alike.

    Args:
        name_or_scope: a name, or a `VariableScope`, which is entered again, wherever this is.
        default_name: made unique by a number, where `name_or_scope` is None.
        values: tensors whose graph is meant.
        initializer, regularizer, constraint, dtype, custom_getter: of variables inside that name none.
        reuse: True: variables must be there; AUTO_REUSE: they are made where they are not; None: as outside.
        auxiliary_name_scope: False leaves the scope of names as it is.

    Errors:   ArgumentError for reuse=True with a default name

    >>> import duograph.graph as tf
    >>> with tf.variable_scope("layer"):
    ...     w = tf.get_variable("w", [2])
    >>> with tf.variable_scope("layer", reuse=True):
    ...     tf.get_variable("w") is w
    True
    """

    def __init__(
        self,
        name_or_scope: Any,
        default_name: str | None = None,
        values: Sequence[Any] | None = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: Any = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        check_reuse("variable_scope", reuse)
        refuse_partitioner("variable_scope", partitioner)
        if name_or_scope is None and default_name is None:
            raise ArgumentError("variable_scope: name_or_scope and default_name are both missing", hint="give one of them")
        if name_or_scope is None and reuse is True:
            raise ArgumentError(
                "variable_scope: reuse=True with a default name, which is new each time", hint="name the scope to be reused"
            )
        if name_or_scope is not None and not isinstance(name_or_scope, (str, VariableScope)):
            raise ArgumentError(f"variable_scope: {name_or_scope!r} is neither a name nor a VariableScope")
        self._scope, self._default_name, self._values = name_or_scope, default_name, values
        self._reuse, self._own_names = reuse, auxiliary_name_scope
        self._changed = {
            "initializer": initializer,
            "regularizer": regularizer,
            "caching_device": caching_device,
            "custom_getter": custom_getter,
            "dtype": None if dtype is None else as_dtype(dtype),
            "use_resource": use_resource,
            "constraint": constraint,
        }
        self._entered: list[ExitStack] = []

    def __enter__(self) -> VariableScope:
        graph = graph_of(self._values)
        with ExitStack() as contexts:
            contexts.enter_context(graph.as_default())
            scope = self._opened(graph, contexts)
            contexts.enter_context(_entered(graph, scope))
            self._entered.append(contexts.pop_all())
        return scope

    def _opened(self, graph: Graph, contexts: ExitStack) -> VariableScope:
        outer = get_variable_scope()
        given = self._scope
        if isinstance(given, VariableScope):
            source, name, title = given, given.name, given.name.rpartition("/")[2]
        else:
            title = given if given is not None else _unused(graph, outer.name, str(self._default_name))
            source, name = outer, "/".join(filter(None, (outer.name, title)))
        changed = dict(self._changed)
        getter = changed["custom_getter"]
        if getter is not None and source.custom_getter is not None:
            changed["custom_getter"] = _both(getter, source.custom_getter)
        prefix = graph.get_name_scope()
        inside = f"{prefix}/" if prefix else ""
        if self._own_names and title:
            inside = contexts.enter_context(graph.name_scope(title if given is not None else self._default_name))
        if isinstance(given, VariableScope):
            inside = given.original_name_scope
        _count_opened(graph, name)
        return source.derived(self._reuse or source.reuse, name, inside, **changed)

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)


def _unused(graph: Graph, outer: str, title: str) -> str:
    """The title with a number behind it, if the outer scope has opened one of this name."""
    counts = graph.variable_scopes
    prefix = f"{outer}/" if outer else ""
    made, number = title, 0
    while counts.get(prefix + made, 0):
        number += 1
        made = f"{title}_{number}"
    return made


def _count_opened(graph: Graph, name: str) -> None:
    graph.variable_scopes[name] = graph.variable_scopes.get(name, 0) + 1
    for inner in [key for key in graph.variable_scopes if key.startswith(f"{name}/")]:
        graph.variable_scopes[inner] = 0


def _both(inner: Callable[..., Any], outer: Callable[..., Any]) -> Callable[..., Any]:
    """A getter behind another one."""

    def getter(getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return inner(functools.partial(outer, getter), *args, **kwargs)

    return getter


def check_reuse(function: str, reuse: Any) -> None:
    """ArgumentError for what says nothing of reuse."""
    if reuse is not None and reuse is not AUTO_REUSE and not isinstance(reuse, bool):
        raise ArgumentError(f"{function}: reuse is True, False, None or tf.AUTO_REUSE, not {reuse!r}")


def refuse_partitioner(function: str, partitioner: Any) -> None:
    """ArgumentError: variables are in one piece here."""
    if partitioner is not None:
        raise ArgumentError(f"{function}: variables are not cut into pieces", hint="leave partitioner out")


# ---- variables by name


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Sequence[str] | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: Any = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Variable:
    """The variable of this name in the variable scope: made, or where the scope reuses, the one that is there.

    Args:
        shape: all sizes of it; left out where `initializer` is a tensor, an array or a number, or the variable is there.
        dtype: by default the scope's, which is float32.
        initializer: a function of shape and dtype, a tensor, an array or a number; by default the scope's; without one,
            floats get `glorot_uniform_initializer`, others zeros.
        regularizer: a function of the variable, whose result goes to GraphKeys.REGULARIZATION_LOSSES.
        trainable: whether optimizers change it; by default they do.
        collections: by default GraphKeys.GLOBAL_VARIABLES.
        constraint: a function that optimizers apply to it after each step.

    Errors:   GraphError for one that is there and not to be reused, or to be reused and not there; ShapeError, DTypeError
              for one that is there with other sizes or another dtype

    Differs:  a number as initializer fills the shape that is given with it
    """
    scope = get_variable_scope()
    refuse_partitioner("get_variable", partitioner)

    def made(name: str, **options: Any) -> Variable:
        return _get_variable(scope, name, **options)

    getter = custom_getter if custom_getter is not None else scope.custom_getter
    if custom_getter is not None and scope.custom_getter is not None:
        getter = _both(custom_getter, scope.custom_getter)
    options = {
        "shape": shape, "dtype": dtype, "initializer": initializer, "regularizer": regularizer, "trainable": trainable,
        "collections": collections, "validate_shape": validate_shape, "constraint": constraint,
    }  # fmt: skip
    if getter is None:
        return made(name, **options)

    def by_full_name(full: str, **options: Any) -> Variable:
        return made(full[len(scope.name) + 1 :] if scope.name and full.startswith(f"{scope.name}/") else full, **options)

    found: Variable = getter(by_full_name, f"{scope.name}/{name}" if scope.name else name, **options)
    return found


def _get_variable(
    scope: VariableScope,
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Sequence[str] | None = None,
    validate_shape: bool = True,
    constraint: Any = None,
    **ignored: Any,
) -> Variable:
    graph = get_default_graph()
    full = f"{scope.name}/{name}" if scope.name else name
    wanted = None if dtype is None else as_dtype(dtype)
    known: Variable | None = graph.variables_by_name.get(full)
    if known is not None:
        _check_known(scope, full, known, shape, wanted)
        return known
    if scope.reuse is True:
        raise GraphError(
            f"get_variable: variable {full} does not exist, and the scope {scope.name!r} reuses variables",
            hint="make it with tf.get_variable first, or use reuse=tf.AUTO_REUSE",
        )
    initializer = scope.initializer if initializer is None else initializer
    regularizer = scope.regularizer if regularizer is None else regularizer
    constraint = scope.constraint if constraint is None else constraint
    with outside_regions(graph), graph.name_scope(None):
        value, wanted = initial_value_of(full, initializer, shape, wanted or _dtype_of(initializer) or scope.dtype)
        variable = Variable(
            value,
            trainable=trainable is not False,
            collections=collections,
            validate_shape=validate_shape,
            name=full,
            dtype=wanted,
            constraint=constraint,
        )
        graph.variables_by_name[full] = variable
        if regularizer is not None:
            with graph.name_scope(f"{full}/Regularizer/"):
                loss = regularizer(variable)
            if loss is not None:
                graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return variable


def _check_known(scope: VariableScope, full: str, known: Variable, shape: Any, dtype: Any) -> None:
    if not scope.reuse:
        raise GraphError(
            f"get_variable: variable {full} already exists",
            [known.node.built_at],
            hint="to use it again: reuse=True or reuse=tf.AUTO_REUSE in tf.variable_scope",
        )
    if shape is not None and not TensorShape(shape).is_compatible_with(known.shape):
        raise ShapeError(
            f"get_variable: variable {full} exists with shape {known.shape}, asked is {TensorShape(shape)}",
            [known.node.built_at],
        )
    if dtype is not None and dtype is not known.dtype:
        raise DTypeError(
            f"get_variable: variable {full} exists as {known.dtype.name}, asked is {dtype.name}", [known.node.built_at]
        )


def _dtype_of(initializer: Any) -> Any:
    """The dtype of an initializer that is a value."""
    return initializer.dtype if isinstance(initializer, (Tensor, core.Tensor)) else None


def initial_value_of(name: str, initializer: Any, shape: Any, dtype: Any) -> tuple[Any, Any]:
    """(the initial value or a function that gives it, the variable's dtype or None where the value decides)."""
    if initializer is None:
        initializer = default_initializer(dtype)
    if isinstance(initializer, type):
        initializer = initializer()
    if isinstance(initializer, (Tensor, core.Tensor)) or not callable(initializer):
        if shape is None or isinstance(initializer, (Tensor, core.Tensor)):
            return initializer, dtype
        from .constants import constant

        return (lambda: constant(initializer, dtype, shape)), dtype
    sizes = TensorShape(shape)
    if shape is not None and sizes.is_fully_defined():
        return (lambda: initializer(sizes.as_list(), dtype=dtype)), dtype
    if not _required(initializer):
        return initializer, None
    raise ShapeError(
        f"get_variable: the new variable {name} has {'no shape' if shape is None else f'the shape {sizes}'}: sizes must be known",
        hint="give shape=[…], or a value as initializer",
    )


def _required(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def default_initializer(dtype: Any) -> Any:
    """The initializer of variables for which nobody named one."""
    from .initializers import glorot_uniform_initializer, zeros_initializer

    return glorot_uniform_initializer() if dtype.is_floating_point else zeros_initializer()


def get_local_variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, **options: Any) -> Variable:
    """`get_variable` for a variable that is not saved and not trained: it goes to GraphKeys.LOCAL_VARIABLES."""
    collections = [*(options.pop("collections", None) or ()), GraphKeys.LOCAL_VARIABLES]
    options["trainable"] = False
    return get_variable(name, shape, dtype, initializer, collections=list(dict.fromkeys(collections)), **options)
