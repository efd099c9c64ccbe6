"""`Layer`: a function of tensors with variables of its own, which are made at the first call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from duograph.errors import ArgumentError, GraphError, ShapeError

from .building import GraphKeys, get_default_graph
from .constants import constant, convert_to_tensor
from .dtypes import as_dtype
from .elements import Tensor
from .scopes import graph_of, name_scope
from .shapes import TensorShape
from .variable_scopes import VariableScope, get_variable, variable_scope
from .variables import Variable


def zeros(shape: Sequence[int], dtype: Any = "float32", partition_info: Any = None) -> Tensor:
    """An initializer: zeros."""
    return constant(0, dtype, shape)


def ones(shape: Sequence[int], dtype: Any = "float32", partition_info: Any = None) -> Tensor:
    """An initializer: ones."""
    return constant(1, dtype, shape)


class Layer:
    """A function of tensors with variables of its own.

    Subclasses say in `build(input_shape)` what variables there are, by `add_weight`, and in `call(inputs)` what is computed. The
    first call builds; each further call uses the same variables.

    Args:
        trainable: whether optimizers change the variables.
        name: of the scope that variables and operations are in; by default the class's, with a number.
        dtype: of the variables; by default that of the first inputs.
    """

    def __init__(
        self,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        activity_regularizer: Callable[[Tensor], Any] | None = None,
        _reuse: Any = None,
        _scope: Any = None,
        **others: Any,
    ) -> None:
        if others:
            raise ArgumentError(f"{type(self).__name__}: has no argument {next(iter(others))!r}")
        self.trainable = trainable
        self.dtype = None if dtype is None else as_dtype(dtype)
        self.activity_regularizer = activity_regularizer
        self.built = False
        self.variables: list[Variable] = []
        self.updates: list[Any] = []
        self.losses: list[Any] = []
        self.inputs: Any = None
        self.outputs: Any = None
        self._reuse = _reuse
        self._base_name = name or _snake_case(type(self).__name__)
        self._scope: VariableScope | None = None
        if _scope is not None:
            with variable_scope(_scope, auxiliary_name_scope=False) as scope:
                self._base_name = scope.name.rpartition("/")[2]
            self._given_scope: Any = _scope
        else:
            self._given_scope = None

    @property
    def name(self) -> str:
        """The scope's last part."""
        return self._base_name if self._scope is None else self._scope.name.rpartition("/")[2]

    @property
    def scope_name(self) -> str:
        """The scope of the variables. GraphError before the first call."""
        if self._scope is None:
            raise GraphError(f"{type(self).__name__}: the layer has no scope before its first call")
        return self._scope.name

    @property
    def weights(self) -> list[Variable]:
        """The variables."""
        return self.variables

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that optimizers change."""
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables that optimizers leave as they are."""
        return [v for v in self.variables if v not in self.trainable_variables]

    trainable_weights, non_trainable_weights = trainable_variables, non_trainable_variables

    def build(self, input_shape: TensorShape) -> None:
        """Makes the variables."""

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs."""
        return inputs

    def add_weight(
        self,
        name: str,
        shape: Sequence[Any],
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool | None = None,
        constraint: Any = None,
        **others: Any,
    ) -> Variable:
        """A variable of the layer: `get_variable` in its scope."""
        graph = get_default_graph()
        before = len(graph.get_collection(GraphKeys.REGULARIZATION_LOSSES))
        variable = get_variable(
            name,
            shape,
            dtype or self.dtype,
            initializer,
            regularizer,
            trainable=self.trainable and trainable is not False,
            constraint=constraint,
        )
        self.losses += graph.get_collection(GraphKeys.REGULARIZATION_LOSSES)[before:]
        if not any(variable is v for v in self.variables):
            self.variables.append(variable)
        return variable

    add_variable = add_weight

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Operations that are to run with each training step: they go to GraphKeys.UPDATE_OPS."""
        for update in updates if isinstance(updates, (list, tuple)) else [updates]:
            self.updates.append(update)
            get_default_graph().add_to_collection(GraphKeys.UPDATE_OPS, update)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Losses that belong to the layer: they go to GraphKeys.REGULARIZATION_LOSSES."""
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            self.losses.append(loss)
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)

    def __call__(self, inputs: Any, *args: Any, scope: Any = None, **kwargs: Any) -> Any:
        """The outputs for inputs; the first call makes the variables."""
        graph = graph_of(inputs if isinstance(inputs, (list, tuple)) else [inputs])
        with graph.as_default():
            if not isinstance(inputs, (list, tuple)) or not any(isinstance(x, Tensor) for x in inputs):
                inputs = convert_to_tensor(inputs)
            own = self._own_scope(scope)
            reuse = True if self.built else self._reuse
            with (
                variable_scope(own, reuse=reuse, auxiliary_name_scope=False),
                name_scope(own.original_name_scope or None),
            ):
                if not self.built:
                    self._build(inputs)
                outputs = self.call(inputs, *args, **kwargs)
                if self.activity_regularizer is not None:
                    self.add_loss(self.activity_regularizer(outputs))
        self.inputs, self.outputs = inputs, outputs
        return outputs

    apply = __call__

    def _own_scope(self, scope: Any) -> VariableScope:
        if self._scope is None:
            given = scope if scope is not None else self._given_scope
            opened = variable_scope(given) if given is not None else variable_scope(None, default_name=self._base_name)
            if given is None and self._reuse is True:
                opened = variable_scope(self._base_name, reuse=True)
            with opened as self._scope:
                pass
        assert self._scope is not None
        return self._scope

    def _build(self, inputs: Any) -> None:
        first = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
        if self.dtype is None and first.dtype.is_floating_point:
            self.dtype = first.dtype
        shape = [x.shape for x in inputs] if isinstance(inputs, (list, tuple)) else inputs.shape
        self.build(shape)  # type: ignore[arg-type]
        self.built = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _snake_case(name: str) -> str:
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()


def known_size(layer: Layer, shape: TensorShape, axis: int, least: int = 2) -> int:
    """A size of the inputs on which variables depend. ShapeError if it is unknown."""
    if shape.ndims is None or shape.ndims < least:
        raise ShapeError(f"{layer.name}: the inputs have shape {shape}: expected at least {least} dimensions")
    size = shape.as_list()[axis]
    if size is None:
        raise ShapeError(
            f"{layer.name}: the inputs have shape {shape}: size {axis} decides the shape of variables and must be known",
            hint="give the placeholder a shape, or use set_shape",
        )
    return size
