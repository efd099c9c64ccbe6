"""What a session keeps: the values of variables, and the generators of random operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.autograd import no_grad
from duograph.errors import DTypeError, ShapeError, UninitializedError

if TYPE_CHECKING:
    from .variables import Variable


class Unset:
    """The value of a variable that has none."""

    def __init__(self, variable: Variable) -> None:
        self.variable = variable


class State:
    """The variables of one session, by the variable. Each value is an `nn.Parameter` (or a plain tensor, if it is no float)."""

    def __init__(self) -> None:
        self.tensors: dict[Variable, Any] = {}
        self._identities: set[int] = set()
        self.epoch = 0  # changes when a variable gets other memory: programs that hold the old one are let go
        self.generators: dict[Any, Any] = {}

    def holds(self, value: Any) -> bool:
        """Whether a value is a variable's memory itself."""
        return id(value) in self._identities

    def has(self, variable: Any) -> bool:
        """Whether the variable has a value."""
        return variable in self.tensors or variable.shared is not None

    def reached(self, variable: Any) -> Any:
        """The variable's tensor, or that it has none: an error where it is read, but not where it is assigned."""
        return self.read(variable) if self.has(variable) else Unset(variable)

    def read(self, variable: Variable) -> Any:
        """The variable's tensor. UninitializedError if it has none."""
        found = self.tensors.get(variable)
        if found is None:
            if variable.shared is not None:
                return self.keep(variable, variable.shared)
            raise UninitializedError(
                f"variable {variable.node.name!r} has no value yet",
                [variable.node.built_at],
                hint="run tf.global_variables_initializer() in this session, or restore a checkpoint",
            )
        return found

    def keep(self, variable: Variable, tensor: Any) -> Any:
        """Make a tensor the memory of a variable."""
        old = self.tensors.get(variable)
        if old is not None:
            self._identities.discard(id(old))
            self.epoch += 1
        self.tensors[variable] = tensor
        self._identities.add(id(tensor))
        return tensor

    def write(self, variable: Variable, value: Any, validate_shape: bool = True) -> Any:
        """Give a variable a value. ShapeError, DTypeError where it does not fit."""
        from .resolving import as_tensor

        value = as_tensor(value).detach()
        check_fits(variable, value, validate_shape)
        found = self.tensors.get(variable, variable.shared)
        with no_grad():
            if found is None or (value._traced is None and tuple(found.shape) != tuple(value.shape)):
                return self.keep(variable, new_memory(variable, value))
            found.copy_(value)
        return self.keep(variable, found) if variable not in self.tensors else found


def check_static(variable: Variable, value: Any, validate_shape: bool = True) -> None:
    """Whether a tensor of the graph may be assigned to a variable, as far as it is known while the graph is built."""
    if value.dtype is not variable.dtype and not _fits(value.dtype, variable.dtype):
        raise _unlike(variable, value.dtype)
    if validate_shape and not variable.shape.is_compatible_with(value.shape):
        raise _misshapen(variable, value.shape)


def check_fits(variable: Variable, value: Any, validate_shape: bool = True) -> None:
    """Whether a value may be assigned to a variable."""
    if value.dtype is not variable.dtype and not _fits(value.dtype, variable.dtype):
        raise _unlike(variable, value.dtype)
    sizes = variable.type.sizes
    if validate_shape and sizes is not None:
        have = tuple(value.shape)
        if len(have) != len(sizes) or any(s is not None and h != s for h, s in zip(have, sizes)):
            raise _misshapen(variable, have)


def _unlike(variable: Variable, dtype: Any) -> DTypeError:
    return DTypeError(
        f"assign: variable {variable.node.name!r} is {variable.dtype.name}, the value is {dtype.name}",
        [variable.node.built_at],
        hint=f"tf.cast(value, tf.{variable.dtype.name})",
    )


def _misshapen(variable: Variable, shape: Any) -> ShapeError:
    return ShapeError(
        f"assign: variable {variable.node.name!r} has shape {variable.shape}, the value {shape}",
        [variable.node.built_at],
        hint="tf.reshape the value, or validate_shape=False",
    )


def _fits(have: Any, want: Any) -> bool:
    order = "buif"
    return have.kind in order and want.kind in order and order.index(have.kind) <= order.index(want.kind)


def new_memory(variable: Variable, value: Any) -> Any:
    """Memory for a variable, holding a value."""
    copied = value.to(variable.dtype, copy=True) if variable.dtype is not value.dtype else value.clone()
    if variable.dtype.is_floating_point:
        from duograph.nn import Parameter

        return Parameter(copied, requires_grad=True)
    return copied if isinstance(copied, core.Tensor) else core.Tensor(copied)
