"""Optimizers that go along the gradient: plain, with momentum, proximal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph.errors import DomainError

from ..elements import Tensor
from ..variables import Variable
from .optimizer import Optimizer
from .updates import is_number, update

__all__ = [
    "AdagradDAOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
]


@update("ApplyGradientDescent")
def _descend(var: Any, grad: Any, lr: Any) -> tuple[Any, ...]:
    return (var - grad * lr,)


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate · grad.

    Args:
        learning_rate: a number, a tensor or a placeholder.

    Source:   tf.compat.v1.train.GradientDescentOptimizer
    """

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self) -> None:
        self._lr = self._call_if_callable(self._learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return _descend({"var": var}, {"grad": grad, "lr": self._lr})


@update("ApplyMomentum")
def _descend_with_momentum(var: Any, accum: Any, grad: Any, lr: Any, momentum: Any, nesterov: bool) -> tuple[Any, ...]:
    accum = accum * momentum + grad
    if nesterov:
        return var - (grad * lr + accum * momentum * lr), accum
    return var - accum * lr, accum


class MomentumOptimizer(Optimizer):
    """accum = momentum · accum + grad; var -= learning_rate · accum.

    Args:
        learning_rate, momentum: numbers, tensors or placeholders.
        use_nesterov: goes along grad + momentum · accum instead (Sutskever et al. 2013).

    Source:   tf.compat.v1.train.MomentumOptimizer
    """

    def __init__(
        self, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "Momentum", use_nesterov: bool = False
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate, self._momentum = learning_rate, momentum
        self._use_nesterov = use_nesterov

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._zeros_slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        self._numbers = {
            "lr": self._call_if_callable(self._learning_rate),
            "momentum": self._call_if_callable(self._momentum),
        }

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept = {"var": var, "accum": self.get_slot(var, "momentum")}
        return _descend_with_momentum(kept, {"grad": grad, **self._numbers, "nesterov": self._use_nesterov})  # type: ignore[arg-type]


def shrunk(value: Any, lr: Any, l1: Any, l2: Any) -> Any:
    """The value with the least l1·|v| + l2·v²/2 near it: towards zero by lr·l1, and less by the factor 1 + lr·l2."""
    if not is_number(l1) or l1 > 0:
        value = dg.sign(value) * dg.relu(dg.abs(value) - lr * l1)
    return value / (lr * l2 + 1.0)


@update("ApplyProximalGradientDescent")
def _descend_proximally(var: Any, grad: Any, lr: Any, l1: Any, l2: Any) -> tuple[Any, ...]:
    return (shrunk(var - grad * lr, lr, l1, l2),)


class ProximalGradientDescentOptimizer(Optimizer):
    """A step of gradient descent, then the proximal operator of l1·|var| + l2·var²/2 (Duchi and Singer 2009).

    Source:   tf.compat.v1.train.ProximalGradientDescentOptimizer
    """

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        check_strengths(name, l1_regularization_strength, l2_regularization_strength)
        self._learning_rate = learning_rate
        self._strengths = {"l1": l1_regularization_strength, "l2": l2_regularization_strength}

    def _prepare(self) -> None:
        self._lr = self._call_if_callable(self._learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return _descend_proximally({"var": var}, {"grad": grad, "lr": self._lr, **self._strengths})


@update("ApplyProximalAdagrad")
def _adagrad_proximally(var: Any, accum: Any, grad: Any, lr: Any, l1: Any, l2: Any) -> tuple[Any, ...]:
    accum = accum + grad * grad
    rate = lr / dg.sqrt(accum)
    return shrunk(var - grad * rate, rate, l1, l2), accum


class ProximalAdagradOptimizer(Optimizer):
    """Adagrad, then the proximal operator of l1·|var| + l2·var²/2 at each element's own rate (Duchi and Singer 2009).

    Source:   tf.compat.v1.train.ProximalAdagradOptimizer
    """

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        super().__init__(use_locking, name)
        check_positive(name, initial_accumulator_value=initial_accumulator_value)
        check_strengths(name, l1_regularization_strength, l2_regularization_strength)
        self._learning_rate = learning_rate
        self._initial = initial_accumulator_value
        self._strengths = {"l1": l1_regularization_strength, "l2": l2_regularization_strength}

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._get_or_make_slot(var, self._initial, "accumulator", self._name)

    def _prepare(self) -> None:
        self._lr = self._call_if_callable(self._learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept = {"var": var, "accum": self.get_slot(var, "accumulator")}
        return _adagrad_proximally(kept, {"grad": grad, "lr": self._lr, **self._strengths})  # type: ignore[arg-type]


@update("ApplyAdagradDA")
def _adagrad_dual(var: Any, total: Any, squares: Any, grad: Any, lr: Any, l1: Any, l2: Any, step: Any) -> tuple[Any, ...]:
    total, squares, count = total + grad, squares + grad * grad, step + 1.0
    pulled = total
    if not is_number(l1) or l1 > 0:
        pulled = dg.sign(total) * dg.relu(dg.abs(total) - count * l1)
    return pulled * -lr / (dg.sqrt(squares) + count * l2 * lr), total, squares


class AdagradDAOptimizer(Optimizer):
    """Adagrad by dual averaging (Duchi et al. 2011): the variable is made anew of the sum of all gradients at each step.

    Args:
        global_step: the number of steps, a variable that `minimize` counts up.

    Source:   tf.compat.v1.train.AdagradDAOptimizer
    """

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        super().__init__(use_locking, name)
        initial = initial_gradient_squared_accumulator_value
        check_positive(name, initial_gradient_squared_accumulator_value=initial)
        check_strengths(name, l1_regularization_strength, l2_regularization_strength)
        self._learning_rate, self._initial, self._global_step = learning_rate, initial, global_step
        self._strengths = {"l1": l1_regularization_strength, "l2": l2_regularization_strength}

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._zeros_slot(var, "gradient_accumulator", self._name)
            self._get_or_make_slot(var, self._initial, "gradient_squared_accumulator", self._name)

    def _prepare(self) -> None:
        self._lr = self._call_if_callable(self._learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept: Any = {
            "var": var,
            "total": self.get_slot(var, "gradient_accumulator"),
            "squares": self.get_slot(var, "gradient_squared_accumulator"),
        }
        return _adagrad_dual(kept, {"grad": grad, "lr": self._lr, "step": self._global_step, **self._strengths})


def check_positive(owner: str, **values: Any) -> None:
    """DomainError for a number that is not above zero."""
    for name, value in values.items():
        if is_number(value) and not value > 0:
            raise DomainError(f"{owner}: {name} must be positive, got {value}")


def check_not_negative(owner: str, **values: Any) -> None:
    """DomainError for a number below zero."""
    for name, value in values.items():
        if is_number(value) and not value >= 0:
            raise DomainError(f"{owner}: {name} must not be negative, got {value}")


def check_strengths(owner: str, l1: Any, l2: Any) -> None:
    """DomainError for regularisation that pushes away from zero."""
    check_not_negative(owner, l1_regularization_strength=l1, l2_regularization_strength=l2)
