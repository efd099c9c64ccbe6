"""Moving averages of variables: what they were lately, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph.errors import ArgumentError, DTypeError, GraphError

from ..building import GraphKeys, get_default_graph
from ..constants import constant, group
from ..elements import Operation, Tensor
from ..variables import Variable, global_variables, moving_average_variables, trainable_variables
from .slots import make_slot
from .updates import is_number, update

__all__ = ["ExponentialMovingAverage"]


def _decay_now(decay: Any, count: Any) -> Any:
    if count is None:
        return decay
    limit = (count + 1.0) / (count + 10.0)
    return dg.minimum(limit, dg.tensor(decay, dtype=count.dtype) if is_number(decay) else decay)


@update("AssignMovingAverage")
def _average(average: Any, value: Any, decay: Any, count: Any) -> tuple[Any, ...]:
    return (average - (average - value) * (1.0 - _decay_now(decay, count)),)


@update("AssignDebiasedAverage")
def _debiased(average: Any, biased: Any, steps: Any, value: Any, decay: Any, count: Any) -> tuple[Any, ...]:
    now = _decay_now(decay, count)
    biased = biased - (biased - value) * (1.0 - now)
    steps = steps + 1.0
    return biased / (1.0 - dg.pow(now, steps)), biased, steps


class ExponentialMovingAverage:
    """Keeps averages of variables, and of other tensors: average = decay · average + (1 - decay) · value.

    Args:
        decay: near 1, such as 0.999.
        num_updates: a number of steps, a number or a tensor: the decay then is at most (1 + num_updates) / (10 + num_updates).
        zero_debias: averages of tensors that are no variables begin with zeros; this makes up for it.
        name: what averages are called by: "w/ExponentialMovingAverage".

    >>> import duograph.graph as tf
    >>> w = tf.Variable(1.0, name="w")
    >>> averages = tf.train.ExponentialMovingAverage(0.75)
    >>> keep = averages.apply([w])
    >>> with tf.Session() as session:
    ...     session.run(tf.global_variables_initializer())
    ...     session.run(w.assign(5.0))
    ...     session.run(keep)
    ...     session.run(averages.average(w))
    np.float32(5.0)
    np.float32(2.0)
    """

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        self._decay, self._num_updates = decay, num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Tensor, Variable] = {}
        self._kept: dict[Tensor, tuple[Variable, Variable]] = {}

    @property
    def name(self) -> str:
        """What averages are called by."""
        return self._name

    def apply(self, var_list: Sequence[Tensor] | None = None) -> Operation:
        """The operation that brings the averages up to date; by default those of all trainable variables.

        Errors:   DTypeError for integers; GraphError for tensors of which the shape is not known
        """
        found = list(trainable_variables() if var_list is None else var_list)
        if not found:
            raise ArgumentError("ExponentialMovingAverage: there is nothing to average", hint="apply([variables and tensors])")
        for x in found:
            self._make(x)
        graph = found[0].graph
        with graph.as_default(), graph.name_scope(self._name) as scope:
            return group(*[self._updated(x) for x in found], name=scope)

    def _make(self, x: Any) -> None:
        if not isinstance(x, Tensor):
            raise ArgumentError(f"ExponentialMovingAverage: {x!r} is no variable or tensor of the graph")
        if not x.dtype.is_floating_point:
            raise DTypeError(
                f"ExponentialMovingAverage: {x.name} is {x.dtype.name}: only floats have averages", [x.node.built_at]
            )
        if x in self._averages:
            return
        graph = x.graph
        sizes = x.type.sizes
        if sizes is None or None in sizes:
            raise GraphError(
                f"ExponentialMovingAverage: the shape {x.shape} of {x.name} is not known while the graph is built",
                [x.node.built_at],
                hint="average a reduction of it, such as its mean",
            )
        initial: Any = 0.0
        if isinstance(x, Variable):
            graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, x)
            with graph.control_dependencies(None):
                initial = x.initialized_value()
        self._averages[x] = made = make_slot(x, initial, self._name)
        if self._zero_debias and not isinstance(x, Variable):
            self._kept[x] = (make_slot(made, 0.0, "biased"), make_slot(made, 0.0, "local_step", scalar=True))

    def _updated(self, x: Tensor) -> Tensor:
        values: dict[str, Any] = {"value": x, "decay": self._decay, "count": self._num_updates}
        if isinstance(self._num_updates, (int, float)):
            values["count"] = constant(float(self._num_updates))
        if x in self._kept:
            biased, steps = self._kept[x]
            return _debiased({"average": self._averages[x], "biased": biased, "steps": steps}, values)
        return _average({"average": self._averages[x]}, values)

    def average(self, var: Tensor) -> Variable | None:
        """The variable that holds the average; None if there is none."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the average, also of one that is not there yet."""
        made = self._averages.get(var)
        return made.node.name if made is not None else f"{var.node.name}/{self._name}"

    def variables_to_restore(self, moving_avg_variables: Sequence[Variable] | None = None) -> dict[str, Variable]:
        """By name in a checkpoint, what to restore for evaluation: averages into the variables themselves.

        >>> import duograph.graph as tf
        >>> tf.reset_default_graph()
        >>> _ = tf.Variable(1.0, name="w")
        >>> sorted(tf.train.ExponentialMovingAverage(0.9).variables_to_restore())
        ['w/ExponentialMovingAverage']
        """
        averaged = moving_avg_variables
        if averaged is None:
            averaged = list(dict.fromkeys([*trainable_variables(), *moving_average_variables()]))
        names: dict[str, Variable] = {self.average_name(v): v for v in averaged}
        own = {f"{name}/{part}" for name in names for part in ("biased", "local_step")}
        taken = set(averaged)
        for v in dict.fromkeys([*global_variables(), *get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES)]):
            if v not in taken and v.node.name not in names and v.node.name not in own:
                names[v.node.name] = v
        return names
