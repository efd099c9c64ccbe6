"""Optimizers that give each element a rate of its own: Adam, Adagrad, Adadelta, RMSProp, Ftrl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import duograph as dg
from duograph.errors import DomainError

from ..constants import group
from ..elements import Tensor
from ..variables import Variable
from .descent import check_not_negative, check_positive, check_strengths
from .optimizer import Optimizer
from .updates import is_number, update

__all__ = ["AdadeltaOptimizer", "AdagradOptimizer", "AdamOptimizer", "FtrlOptimizer", "RMSPropOptimizer"]


@update("ApplyAdam")
def _adam(
    var: Any, m: Any, v: Any, beta1_power: Any, beta2_power: Any, grad: Any, lr: Any, beta1: Any, beta2: Any, epsilon: Any
) -> tuple[Any, ...]:
    rate = lr * dg.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    m = m + (grad - m) * (1.0 - beta1)
    v = v + (grad * grad - v) * (1.0 - beta2)
    return var - m * rate / (dg.sqrt(v) + epsilon), m, v


@update("UpdatePower")
def _next_power(power: Any, beta: Any) -> tuple[Any, ...]:
    return (power * beta,)


class AdamOptimizer(Optimizer):
    """Adam (Kingma and Ba 2015): steps along the mean of the gradients over the root of the mean of their squares.

    lr_t = learning_rate · √(1 - beta2^t) / (1 - beta1^t); var -= lr_t · m / (√v + epsilon), the "epsilon hat" of the paper, which
    is not divided by √(1 - beta2^t): `duograph.optim.Adam` has the other one.

    Source:   tf.compat.v1.train.AdamOptimizer
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr, self._beta1, self._beta2, self._epsilon = learning_rate, beta1, beta2, epsilon

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        first = min(var_list, key=lambda v: v.name)
        for name, beta in (("beta1_power", self._beta1), ("beta2_power", self._beta2)):
            initial = self._call_if_callable(beta)
            self._create_non_slot_variable(initial, name, first)
        for var in var_list:
            self._zeros_slot(var, "m", self._name)
            self._zeros_slot(var, "v", self._name)

    def _prepare(self) -> None:
        given = {"lr": self._lr, "beta1": self._beta1, "beta2": self._beta2, "epsilon": self._epsilon}
        self._numbers = {name: self._call_if_callable(value) for name, value in given.items()}
        for name in ("beta1", "beta2"):  # rounded as their powers are: or 1 - beta and 1 - beta^t would not go together
            if is_number(self._numbers[name]):
                self._numbers[name] = float(np.float32(self._numbers[name]))

    def _get_beta_accumulators(self, graph: Any = None) -> tuple[Variable, Variable]:
        from ..building import get_default_graph

        graph = graph or get_default_graph()
        return self._get_non_slot_variable("beta1_power", graph), self._get_non_slot_variable("beta2_power", graph)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        powers = dict(zip(("beta1_power", "beta2_power"), self._get_beta_accumulators(var.graph)))
        kept = {"var": var, "m": self.get_slot(var, "m"), "v": self.get_slot(var, "v")}
        return _adam(kept, {**powers, "grad": grad, **self._numbers})  # type: ignore[arg-type]

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        graph = update_ops[0].graph
        with graph.control_dependencies(update_ops):
            powers = [
                _next_power({"power": power}, {"beta": self._numbers[name]}, name="Assign")
                for power, name in zip(self._get_beta_accumulators(graph), ("beta1", "beta2"))
            ]
        return group(*update_ops, *powers, name=name_scope)


@update("ApplyAdagrad")
def _adagrad(var: Any, accum: Any, grad: Any, lr: Any) -> tuple[Any, ...]:
    accum = accum + grad * grad
    return var - grad * lr / dg.sqrt(accum), accum


class AdagradOptimizer(Optimizer):
    """accum += grad²; var -= learning_rate · grad / √accum (Duchi et al. 2011).

    Source:   tf.compat.v1.train.AdagradOptimizer
    """

    def __init__(
        self, learning_rate: Any, initial_accumulator_value: float = 0.1, use_locking: bool = False, name: str = "Adagrad"
    ) -> None:
        super().__init__(use_locking, name)
        check_positive(name, initial_accumulator_value=initial_accumulator_value)
        self._learning_rate, self._initial = learning_rate, initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._get_or_make_slot(var, self._initial, "accumulator", self._name)

    def _prepare(self) -> None:
        self._lr = self._call_if_callable(self._learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept = {"var": var, "accum": self.get_slot(var, "accumulator")}
        return _adagrad(kept, {"grad": grad, "lr": self._lr})  # type: ignore[arg-type]


@update("ApplyAdadelta")
def _adadelta(var: Any, accum: Any, accum_update: Any, grad: Any, lr: Any, rho: Any, epsilon: Any) -> tuple[Any, ...]:
    accum = accum * rho + grad * grad * (1.0 - rho)
    step = dg.sqrt(accum_update + epsilon) / dg.sqrt(accum + epsilon) * grad
    accum_update = accum_update * rho + step * step * (1.0 - rho)
    return var - step * lr, accum, accum_update


class AdadeltaOptimizer(Optimizer):
    """Steps of the size of the last steps over the size of the last gradients, both as means of squares (Zeiler 2012).

    Source:   tf.compat.v1.train.AdadeltaOptimizer
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: Any = 0.95, epsilon: Any = 1e-8, use_locking: bool = False, name: str = "Adadelta"
    ) -> None:
        super().__init__(use_locking, name)
        self._lr, self._rho, self._epsilon = learning_rate, rho, epsilon

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._zeros_slot(var, "accum", self._name)
            self._zeros_slot(var, "accum_update", self._name)

    def _prepare(self) -> None:
        given = {"lr": self._lr, "rho": self._rho, "epsilon": self._epsilon}
        self._numbers = {name: self._call_if_callable(value) for name, value in given.items()}

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept = {"var": var, "accum": self.get_slot(var, "accum"), "accum_update": self.get_slot(var, "accum_update")}
        return _adadelta(kept, {"grad": grad, **self._numbers})  # type: ignore[arg-type]


@update("ApplyRMSProp")
def _rmsprop(var: Any, ms: Any, mom: Any, grad: Any, lr: Any, decay: Any, momentum: Any, epsilon: Any) -> tuple[Any, ...]:
    ms = ms + (grad * grad - ms) * (1.0 - decay)
    mom = mom * momentum + grad * lr / dg.sqrt(ms + epsilon)
    return var - mom, ms, mom


@update("ApplyCenteredRMSProp")
def _rmsprop_centered(
    var: Any, ms: Any, mom: Any, mg: Any, grad: Any, lr: Any, decay: Any, momentum: Any, epsilon: Any
) -> tuple[Any, ...]:
    ms = ms + (grad * grad - ms) * (1.0 - decay)
    mg = mg + (grad - mg) * (1.0 - decay)
    mom = mom * momentum + grad * lr / dg.sqrt(ms - mg * mg + epsilon)
    return var - mom, ms, mom, mg


class RMSPropOptimizer(Optimizer):
    """Steps along the gradient over the root of the mean of its squares (Hinton's lecture 6e), with momentum.

    Args:
        decay: how much of the means is kept at each step.
        epsilon: is added under the root.
        centered: takes the variance instead of the mean of squares (Graves 2013).

    The mean of squares begins with ones.

    Source:   tf.compat.v1.train.RMSPropOptimizer
    """

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate, self._decay, self._momentum, self._epsilon = learning_rate, decay, momentum, epsilon
        self._centered = centered

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._get_or_make_slot(var, 1.0, "rms", self._name)
            if self._centered:
                self._zeros_slot(var, "mg", self._name)
            self._zeros_slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        given = {"lr": self._learning_rate, "decay": self._decay, "momentum": self._momentum, "epsilon": self._epsilon}
        self._numbers = {name: self._call_if_callable(value) for name, value in given.items()}

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept: Any = {"var": var, "ms": self.get_slot(var, "rms"), "mom": self.get_slot(var, "momentum")}
        if self._centered:
            centered: Any = {**kept, "mg": self.get_slot(var, "mg")}
            return _rmsprop_centered(centered, {"grad": grad, **self._numbers})
        return _rmsprop(kept, {"grad": grad, **self._numbers})


@update("ApplyFtrl")
def _ftrl(
    var: Any, accum: Any, linear: Any, grad: Any, lr: Any, l1: Any, l2: Any, l2_shrinkage: Any, lr_power: Any
) -> tuple[Any, ...]:
    shrinking = grad + var * (2.0 * l2_shrinkage)
    after = accum + grad * grad
    root_before, root_after = _rooted(accum, lr_power), _rooted(after, lr_power)
    linear = linear + shrinking - (root_after - root_before) / lr * var
    quadratic = root_after / lr + 2.0 * l2
    pulled = (dg.sign(linear) * l1 - linear) / quadratic
    return dg.where(dg.abs(linear) > l1, pulled, dg.zeros_like(pulled)), after, linear


def _rooted(accum: Any, lr_power: Any) -> Any:
    return dg.sqrt(accum) if is_number(lr_power) and lr_power == -0.5 else dg.pow(accum, -lr_power)


class FtrlOptimizer(Optimizer):
    """Follow the regularised leader, by element (McMahan et al. 2013): keeps few weights away from zero.

    Args:
        learning_rate_power: how the rate falls with the sum of squared gradients; at most 0.
        l1_regularization_strength, l2_regularization_strength: how much |var| and var² cost.
        l2_shrinkage_regularization_strength: how much var² costs as part of the gradient alone.

    Source:   tf.compat.v1.train.FtrlOptimizer
    """

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: Any = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: Any = 0.0,
    ) -> None:
        super().__init__(use_locking, name)
        check_not_negative(name, initial_accumulator_value=initial_accumulator_value)
        check_strengths(name, l1_regularization_strength, l2_regularization_strength)
        check_not_negative(name, l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength)
        if is_number(learning_rate_power) and learning_rate_power > 0:
            raise DomainError(f"{name}: learning_rate_power must not be positive, got {learning_rate_power}")
        self._learning_rate, self._initial = learning_rate, initial_accumulator_value
        self._constants = {
            "l1": l1_regularization_strength,
            "l2": l2_regularization_strength,
            "l2_shrinkage": l2_shrinkage_regularization_strength,
            "lr_power": learning_rate_power,
        }
        self._accum_name, self._linear_name = accum_name or name, linear_name or name

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for var in var_list:
            self._get_or_make_slot(var, self._initial, "accum", self._accum_name)
            self._zeros_slot(var, "linear", self._linear_name)

    def _prepare(self) -> None:
        self._lr = self._call_if_callable(self._learning_rate)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        kept = {"var": var, "accum": self.get_slot(var, "accum"), "linear": self.get_slot(var, "linear")}
        return _ftrl(kept, {"grad": grad, "lr": self._lr, **self._constants})  # type: ignore[arg-type]
