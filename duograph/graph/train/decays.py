"""Learning rates that fall as training goes on: tensors, computed from the global step at each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError

from ..constants import convert_to_tensor
from ..definition import Operand, Operands, operation
from ..elements import Tensor

__all__ = [
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
]


def _turns(global_step: Any, decay_steps: Any, staircase: bool) -> Any:
    """How often `decay_steps` went by, as a float32 tensor."""
    turns = _float(global_step) / _float(decay_steps)
    return dg.floor(turns) if staircase else turns


def _float(value: Any) -> Any:
    """A number, or a tensor, as a float."""
    if isinstance(value, core.Tensor):
        return value if value.dtype.is_floating_point else value.to(core.float32)
    return float(value)


def _limited(global_step: Any, decay_steps: Any) -> Any:
    """The part of `decay_steps` that went by, at most 1."""
    return dg.clamp(_turns(global_step, decay_steps, False), max=1.0)


@operation("ExponentialDecay")
def exponential_decay(
    learning_rate: Operand,
    global_step: Operand,
    decay_steps: Operand,
    decay_rate: Operand,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """learning_rate · decay_rate^(global_step / decay_steps). `staircase`: with the quotient rounded down.

    >>> import duograph.graph as tf
    >>> rate = tf.train.exponential_decay(1.0, tf.constant(20), 10, 0.5)
    >>> with tf.Session() as session:
    ...     session.run(rate)
    np.float32(0.25)
    """
    return dg.pow(_tensor(decay_rate), _turns(global_step, decay_steps, staircase)) * learning_rate


def _tensor(value: Any) -> Any:
    return value if isinstance(value, core.Tensor) else dg.tensor(float(value))


@operation("NaturalExpDecay")
def natural_exp_decay(
    learning_rate: Operand,
    global_step: Operand,
    decay_steps: Operand,
    decay_rate: Operand,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """learning_rate · e^(-decay_rate · global_step / decay_steps). `staircase`: with the quotient rounded down."""
    return dg.exp(_turns(global_step, decay_steps, staircase) * -decay_rate) * learning_rate


@operation("InverseTimeDecay")
def inverse_time_decay(
    learning_rate: Operand,
    global_step: Operand,
    decay_steps: Operand,
    decay_rate: Operand,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """learning_rate / (1 + decay_rate · global_step / decay_steps). `staircase`: with the quotient rounded down."""
    return learning_rate / (_turns(global_step, decay_steps, staircase) * decay_rate + 1.0)


@operation("PolynomialDecay")
def polynomial_decay(
    learning_rate: Operand,
    global_step: Operand,
    decay_steps: Operand,
    end_learning_rate: Operand = 0.0001,
    power: Operand = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Any:
    """From `learning_rate` to `end_learning_rate` in `decay_steps` steps, along (1 - global_step / decay_steps)^power.

    `cycle`: begins again from there, each time with twice, three times … as many steps as at first.
    """
    turns = _turns(global_step, decay_steps, False)
    part = turns / dg.clamp(dg.ceil(turns), min=1.0) if cycle else dg.clamp(turns, max=1.0)
    return dg.pow(1.0 - part, power) * (learning_rate - end_learning_rate) + end_learning_rate


@operation("CosineDecay")
def cosine_decay(
    learning_rate: Operand, global_step: Operand, decay_steps: Operand, alpha: Operand = 0.0, name: str | None = None
) -> Any:
    """From `learning_rate` to its `alpha`-th part along half a wave of the cosine (Loshchilov and Hutter 2017)."""
    wave = (dg.cos(_limited(global_step, decay_steps) * math.pi) + 1.0) * 0.5
    return (wave * (1.0 - alpha) + alpha) * learning_rate


@operation("CosineDecayRestarts")
def cosine_decay_restarts(
    learning_rate: Operand,
    global_step: Operand,
    first_decay_steps: Operand,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: Operand = 0.0,
    name: str | None = None,
) -> Any:
    """Cosine decay again and again: each time `t_mul` times as many steps, from `m_mul` times the rate."""
    done = _turns(global_step, first_decay_steps, False)
    if t_mul == 1.0:
        count = dg.floor(done)
        part = done - count
    else:
        count = dg.floor(dg.log(1.0 - done * (1.0 - t_mul)) / math.log(t_mul))
        power = dg.pow(dg.tensor(float(t_mul)), count)
        part = (done - (1.0 - power) / (1.0 - t_mul)) / power
    wave = dg.pow(dg.tensor(float(m_mul)), count) * (dg.cos(part * math.pi) + 1.0) * 0.5
    return (wave * (1.0 - alpha) + alpha) * learning_rate


@operation("LinearCosineDecay")
def linear_cosine_decay(
    learning_rate: Operand,
    global_step: Operand,
    decay_steps: Operand,
    num_periods: float = 0.5,
    alpha: Operand = 0.0,
    beta: Operand = 0.001,
    name: str | None = None,
) -> Any:
    """learning_rate · ((alpha + linear) · cosine + beta), of a line that falls to 0 and a cosine of `num_periods` waves."""
    return _linear_cosine(learning_rate, _limited(global_step, decay_steps), 0.0, num_periods, alpha, beta)


def _linear_cosine(rate: Any, part: Any, noise: Any, num_periods: float, alpha: Any, beta: Any) -> Any:
    cosine = (dg.cos(part * (2.0 * num_periods * math.pi)) + 1.0) * 0.5
    return ((1.0 - part + noise + alpha) * cosine + beta) * rate


@operation("NoisyLinearCosineDecay", stateful=True)
def noisy_linear_cosine_decay(
    learning_rate: Operand,
    global_step: Operand,
    decay_steps: Operand,
    initial_variance: float = 1.0,
    variance_decay: float = 0.55,
    num_periods: float = 0.5,
    alpha: Operand = 0.0,
    beta: Operand = 0.001,
    name: str | None = None,
) -> Any:
    """`linear_cosine_decay` with normal noise on its line, of the variance initial_variance / (1 + step)^variance_decay."""
    step = dg.minimum(_tensor(_float(global_step)), _tensor(_float(decay_steps)))
    deviation = dg.sqrt(initial_variance / dg.pow(step + 1.0, variance_decay))
    noise = dg.randn_like(step) * deviation
    return _linear_cosine(learning_rate, _limited(global_step, decay_steps), noise, num_periods, alpha, beta)


@operation("PiecewiseConstant")
def _piecewise(x: Operand, boundaries: Operands, values: Operands, name: str | None = None) -> Any:
    found = _tensor(values[-1])
    for boundary, value in reversed(list(zip(boundaries, values))):
        found = dg.where(x <= boundary, value, found)
    return found


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None) -> Tensor:
    """values[0] while x ≤ boundaries[0], values[1] while x ≤ boundaries[1], …, in the end values[-1].

    Errors:   ArgumentError unless there is one value more than boundaries

    >>> import duograph.graph as tf
    >>> rate = tf.train.piecewise_constant(tf.constant(7), [5, 10], [1.0, 0.5, 0.1])
    >>> with tf.Session() as session:
    ...     session.run(rate)
    np.float32(0.5)
    """
    if len(values) != len(boundaries) + 1:
        raise ArgumentError(
            f"piecewise_constant: {len(boundaries)} boundaries make {len(boundaries) + 1} pieces, got {len(values)} values"
        )
    found: Tensor = _piecewise(convert_to_tensor(x), list(boundaries), list(values), name=name)
    return found


piecewise_constant_decay = piecewise_constant
